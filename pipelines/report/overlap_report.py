"""The page of the overlap audit: what was found of each set, and the pairs side by side.

It works without a network or scripts, and everything that came from the web is escaped: captions are hostile input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { display: grid; grid-template-columns: 160px 160px 1fr; gap: 1rem; margin: 0; padding: .8rem 0;
  border-bottom: 1px solid #ddd; align-items: start; }
img { max-width: 160px; max-height: 160px; } figcaption { overflow-wrap: anywhere; } .quiet { color: #666; }
"""


class SetResult(Protocol):
    """What the page says of an evaluation set."""

    @property
    def set(self) -> str: ...
    @property
    def num_items(self) -> int: ...
    @property
    def num_overlap(self) -> int: ...
    @property
    def num_unreadable(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Pair:
    """An evaluation image and its nearest training sample; pictures are data URIs."""

    item: str
    key: str
    shard: str
    distance: int
    caption: str
    url: str
    item_picture: str
    sample_picture: str


def render(shards: str, radius: int, found: Sequence[SetResult], pairs: Mapping[str, Sequence[Pair]]) -> str:
    """Return the page as HTML; `pairs` by set, those that are to be shown."""
    body = [
        "<h1>Overlap with evaluation sets</h1>",
        f"<p>Training shards: {escape(shards)}. A copy is an image whose 64-bit perceptual hash differs in at most "
        f"{radius} bits. The interval is Clopper-Pearson at 99.5 %.</p>",
        "<table><tr><th>set</th><th>images</th><th>overlap</th><th>share</th><th>interval</th><th>unreadable</th></tr>",
        *map(_row, found),
        "</table>",
    ]
    for each in found:
        body += _section(each, pairs[each.set])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Overlap with evaluation sets</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _row(each: SetResult) -> str:
    low, high = each.interval
    return (
        f"<tr><td>{escape(each.set)}</td><td>{each.num_items:,}</td><td>{each.num_overlap:,}</td>"
        f"<td>{each.share:.2%}</td><td>{low:.2%} to {high:.2%}</td><td>{each.num_unreadable:,}</td></tr>"
    )


def _section(each: SetResult, pairs: Sequence[Pair]) -> list[str]:
    lines = [f"<h2>{escape(each.set)}</h2>"]
    if each.num_overlap > len(pairs):
        lines.append(f"<p>The nearest {len(pairs):,} of {each.num_overlap:,}; matches.parquet has all.</p>")
    elif not pairs:
        lines.append("<p>None of its images was found.</p>")
    return lines + [_figure(pair) for pair in pairs]


def _figure(pair: Pair) -> str:
    return (
        f'<figure><img src="{escape(pair.item_picture)}" alt="evaluation image">'
        f'<img src="{escape(pair.sample_picture)}" alt="training sample">'
        f"<figcaption>{escape(pair.item)}<br>{escape(pair.caption)}<br>"
        f'<span class="quiet">{pair.distance} bits; {escape(pair.shard)}, {escape(pair.key)}<br>'
        f"{escape(pair.url)}</span></figcaption></figure>"
    )
