"""Hosts of addresses, and lists of domains that are looked up in them; `host_of` is the definition, columns are fast.

FNV hashes of texts are for counting distinct ones, where a chance collision costs a count of one, and for buckets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from wit.ragged import Ragged, frozen, ragged

MAX_HOST_CHARACTERS = 253  # RFC 1035: 255 octets with their lengths; nothing longer is turned to ASCII
_END = re.compile(r"[/?#\\]")


def host_of(url: str) -> str:
    """Return the host of an absolute address in small letters, without user, port and final dots; empty: none.

    Percent signs are decoded, and names in other letters written as in the DNS (IDNA, RFC 3490) where they can be.
    """
    authority = _END.split(url.partition("://")[2], maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        name, closing, _ = host.partition("]")
        host = name + closing
    else:
        host = host.partition(":")[0]
    if "%" in host or not host.isascii():
        host = _in_ascii(unquote(host).lower())
    return host.lower().rstrip(".")


def _in_ascii(host: str) -> str:
    if host.isascii() or len(host) > MAX_HOST_CHARACTERS:
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # an empty label, one of over 63 letters, or none that IDNA allows
        return host


def hosts(urls: Any) -> Any:
    """Return `host_of` of each of an Arrow array of addresses, without nulls, as large_string."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from wit.host_kernels import write_hosts

    source = ragged(urls)
    out = np.empty(source.num_bytes, np.uint8)  # a host is a part of its address
    ends = np.empty_like(source.offsets)
    is_odd = np.empty(len(urls), np.bool_)
    write_hosts(source.text, source.offsets, out, ends, is_odd)
    plain = Ragged(out[: ends[-1]], ends).strings()
    slow = [host_of(urls[row].as_py()) for row in np.flatnonzero(is_odd).tolist()]
    return pc.replace_with_mask(plain, pa.array(is_odd), pa.array(slow, pa.large_string())) if slow else plain


def text_hashes(texts: Any) -> npt.NDArray[np.uint64]:
    """Return the FNV-1a hash of each of an Arrow array of texts, without nulls."""
    from wit.host_kernels import hash_texts

    hashes = np.empty(len(texts), np.uint64)
    hash_texts(*ragged(texts), hashes)
    return hashes


def text_buckets(texts: Any, num_buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of each of an Arrow array of texts, without nulls: its hash modulo `num_buckets`."""
    mixed = text_hashes(texts) >> np.uint64(32)  # the high half of FNV is the better mixed
    return (mixed % np.uint64(num_buckets)).astype(np.int32)


class Domains:
    """A list of domains; a host lies in one when it is that domain, or a subdomain of it."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` as `host_of` writes hosts, none of them empty."""
        import pyarrow as pa

        from wit.host_kernels import NONE, fill_table

        assert all(names)
        self.names = pa.array(names, pa.large_string())
        self._text, self._offsets = ragged(self.names)
        num_places = 1 << (2 * len(names)).bit_length()  # over twice as many: searches end at a free place, soon
        table = np.full(num_places, NONE, np.int32)
        fill_table(self._text, self._offsets, table)
        self._table = frozen(table)

    def find(self, names: Any) -> Any:
        """Return for each of an Arrow array of hosts the widest listed domain that it lies in; null: in none."""
        import pyarrow as pa

        from wit.host_kernels import NONE, find_domains

        found = np.empty(len(names), np.int32)
        find_domains(*ragged(names), self._text, self._offsets, self._table, found)
        return self.names.take(pa.array(found, mask=found == NONE))
