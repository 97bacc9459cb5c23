"""`wit shards export`: shards in the layouts of others, streamed, several files at a time, and gone on with.

What an export is made from stands in a file of the folder, written before anything else, so the same command does the
rest of one that was stopped, and another one is told that the folder is not its own. Every file gets its name when it
is whole, and its bytes depend on the samples and the limits alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pipelines.shardset.layouts import LAYOUTS
from pipelines.shardset.making import open_set
from pipelines.shardset.pieces import Cut, Piece, Plan, plan
from wit import __version__, manifest
from wit.errors import OutputError
from wit.locking import LOCK, locked
from wit.processes import map_in_order
from wit.shards import find_index
from wit.storage import base_name, exists, join, list_names, remove_temporaries, size

RECORD = "_export"
"""File that says what an export is made from; readers of folders of tables pass over names that begin with "_"."""


@dataclass(frozen=True)
class Export:
    """What to write: shards (a folder, or a pattern of tars) in a layout (one of LAYOUTS) into the folder `out`."""

    shards: str
    layout: str
    out: str
    max_samples: int | None = None
    """Samples of a file; 0: no limit; None: as the layout has it."""
    max_bytes: int | None = None
    """Bytes of images, captions and metadata of a file; likewise."""

    @property
    def cut(self) -> Cut:
        """Where its files end."""
        given = {"max_samples": self.max_samples, "max_bytes": self.max_bytes}
        return replace(LAYOUTS[self.layout].cut, **{name: value for name, value in given.items() if value is not None})


def prepare_export(export: Export) -> Plan:
    """Return what is to be written; raises InputError for shards that are not there, not indexed, or half changed."""
    return plan(open_set(export.shards), export.cut)


def run_export(export: Export, planned: Plan, processes: int, advance: Callable[[int], None] = lambda _: None) -> None:
    """Write all files of `planned`; `advance(n)` is called as n more samples are done.

    Memory: about 350 MB a process, an index among it (1 kB a sample of a shard). Raises OutputError when the folder
    holds other files or another process is at work in it, MismatchError when it holds another export, InputError when a
    shard is broken.
    """
    layout = LAYOUTS[export.layout]
    _require_ours(export.out)
    with locked(export.out, "wit shards export"):
        _claim(export)
        remove_temporaries(export.out)
        left = [piece for piece in planned.pieces if not exists(join(export.out, layout.done(piece)))]
        advance(planned.num_samples - sum(piece.num_samples for piece in left))
        write = partial(_write, export.layout, export.out)
        try:
            for num_samples in map_in_order(write, left, min(processes, max(len(left), 1))):
                advance(num_samples)
        finally:
            remove_temporaries(export.out)  # of workers that were killed
        _claim(export)  # the shards are still those that were planned with: no removal has begun
        layout.finish(planned, export.out, _origin(export, planned))


def _write(layout: str, out: str, piece: Piece) -> int:
    LAYOUTS[layout].write(piece, out)
    return piece.num_samples


def _require_ours(out: str) -> None:
    """Raise OutputError, before a file is made, when a folder holds something and was not begun by an export."""
    strangers = [name for name in list_names(out) if name != LOCK]
    if strangers and not exists(join(out, RECORD)):
        raise OutputError(f"{out}: expected an empty folder, found {strangers[0]}; choose another")


def _claim(export: Export) -> None:
    """Write down in the folder what it is made from, or see that it is the same."""
    source = _source(export)
    record = join(export.out, RECORD)
    if exists(record):
        manifest.require_same(export.out, manifest.read(record), source, "choose another folder, or remove this one")
    else:
        manifest.write(record, source)


def _source(export: Export) -> dict[str, Any]:
    """Return what the bytes of an export follow from; the indexes have the hashes of the images."""
    shards = open_set(export.shards)
    return {
        "layout": export.layout,
        "cut": asdict(export.cut),
        "wit": __version__,
        "shards": {
            f"{number:05d}:{base_name(shard)}": {
                "bytes": size(shard),
                "index": manifest.fingerprint_file(find_index(shard)),
            }
            for number, shard in enumerate(shards)
        },
    }


def _origin(export: Export, planned: Plan) -> str:
    shards = len({stretch.shard for piece in planned.pieces for stretch in piece.stretches})
    return (
        f"`wit shards export --to {export.layout}` (wit {__version__}) wrote it from {shards:,} "
        f"shard{'s' if shards != 1 else ''}; images and captions are byte for byte those of the shards."
    )
