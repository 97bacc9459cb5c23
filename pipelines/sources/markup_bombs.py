"""Markup made to keep a parser busy: refused by an estimate of the work, before the parser sees it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.sources.page_kernels import name_hash, parser_work

MAX_WORK = 500_000_000
"""Steps over open elements and over pairs of attributes: about 0.5 s of the parser's time, 3 s at worst.

Of 87 pages of news and wikis the one with the most takes 0.3 million.
"""

_I64 = npt.NDArray[np.int64]


def _hashes(names: str) -> _I64:
    return np.array([name_hash(name.encode()) for name in names.split()], np.int64)


_MERGED = _hashes("html body")
_FLAT = _hashes(
    "area base br col embed hr img input link meta param source track wbr "
    "p li dd dt option optgroup tr td th tbody thead tfoot colgroup rt rp head frame"
)
_RAW = _hashes("script style textarea title xmp iframe noembed noframes")
_NONE = _hashes("")


def is_bomb(markup: bytes) -> bool:
    """Return whether a page would take the parser more than MAX_WORK steps.

    Inside <svg> and <math> <style> and the like hold elements, not text: pages with these are counted both ways.
    """
    data = np.frombuffer(markup, np.uint8)
    if parser_work(data, _FLAT, _MERGED, _RAW, MAX_WORK) > MAX_WORK:
        return True
    folded = markup.lower()
    is_foreign = b"<svg" in folded or b"<math" in folded
    return is_foreign and parser_work(data, _FLAT, _MERGED, _NONE, MAX_WORK) > MAX_WORK
