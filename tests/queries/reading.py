"""Reads a dump as the builder does: every part, apart from the others, then the seams."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from queries.dumps import Dump, PartReader, open_dump, parts, stitch
from queries.seams import PartEdges
from queries.wikipedia import DAMAGE_REASONS, Chunk, Damage


@dataclass
class Found:
    """What chunks hold together, in no order."""

    texts: Counter[str] = field(default_factory=Counter)
    titles: Counter[str] = field(default_factory=Counter)
    redirects: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list, compare=False)

    def add(self, chunk: Chunk) -> None:
        """Take what a chunk holds."""
        assert all(each.reason in DAMAGE_REASONS for each in chunk.damage)
        pairs = zip(chunk.offsets[:-1].tolist(), chunk.offsets[1:].tolist(), strict=True)
        self.texts.update(chunk.text[start:end].tobytes().decode() for start, end in pairs)
        self.titles.update(chunk.titles)
        self.redirects.update(chunk.redirects)
        self.kinds.update(chunk.kinds)
        self.damage += chunk.damage


def read_dump(
    path: str | Path, part_bytes: int | None = None, chunk_bytes: int = 1 << 20, spool: Path | None = None
) -> Found:
    """Return what a dump holds; no damage at all leaves `damage` empty."""
    dump = open_dump(str(path))
    return read_parts(dump, part_bytes, chunk_bytes, spool)


def read_parts(dump: Dump, part_bytes: int | None, chunk_bytes: int, spool: Path | None) -> Found:
    """Return what the parts and seams of a dump hold."""
    found = Found()
    edges = []
    sizes = []

    def lay_down(index: int) -> str:
        assert spool is not None, "these parts are read from the dump"
        return str(spool / f"part-{index}")

    for part in parts(dump, lay_down, lambda _: True, part_bytes):
        reader = PartReader(part, chunk_bytes)
        for chunk in reader:
            found.add(chunk)
        assert PartEdges.from_bytes(reader.edges.to_bytes()) == reader.edges
        edges.append(reader.edges)
        sizes.append(part.size)
        if part.path is not None:
            Path(part.path).unlink()
    assert not dump.size or sum(sizes) == dump.size or part.gap is not None
    for chunk in stitch(edges, dump):
        found.add(chunk)
    return found
