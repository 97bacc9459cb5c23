"""Recall and false pairs over radius, of every detector, on planted edits of real photos and on judged pairs.

    python -m benchmarks.near_duplicates --data DATA --out FOLDER [--peers PEERS_PYTHON] [--detector FILE.onnx]
        [--photos N] [--processes 2]

DATA is the folder of real data (see `pictures`); PEERS_PYTHON has imagededup and pdqhash (see `peers`); FILE is a
descriptor, best one that `wit overlap train-detector` made of the photos whose SHA-256 begins with 0 to 7, because the
others are kept for this. Every photo is edited in all the ways of benchmarks.edits; each edit is compared with its
photo, and with all other pictures, which no detector should find. Writes FOLDER/report.md, curves.csv, edits.csv and
figures. Nothing in them depends on time or on the number of processes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.near_duplicates.cifar import read_cifar
from benchmarks.near_duplicates.counts import Planted
from benchmarks.near_duplicates.measured import Measured
from benchmarks.near_duplicates.pictures import Picture, others, photos
from benchmarks.near_duplicates.report import write_report
from benchmarks.near_duplicates.signs import (
    Signs,
    edited_signs_of,
    joined,
    peers_of,
    signs_of,
    turned_signs_of,
)
from wit.image import sniff
from wit.processes import Pool
from wit.progress import progress

Peers = Callable[[Sequence[bytes]], Signs]


def main() -> None:
    """Read the pictures, let every detector see them, count, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peers", default="")
    parser.add_argument("--detector")
    parser.add_argument("--photos", type=int, help="take every n-th photo so that about so many are edited")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    taken = photos(options.data)
    if not taken:
        raise SystemExit(f"{options.data}: expected image_text, eval and neardup with photos, found none")
    if options.photos:
        taken = taken[:: max(1, len(taken) // options.photos)]
    with closing(Pool(options.processes)) as pool, peers_of(options.peers) as peers:
        planted = plant(taken, others(options.data), pool, options.detector, peers)
        turned = list(pool.map_in_order(turned_signs_of, taken))
        cifar = read_cifar(options.data, pool, options.detector, peers)
        files = read_files(options.data, peers)
    options.out.mkdir(parents=True, exist_ok=True)
    write_report(options.out, Measured(planted, turned, cifar, files))


def plant(taken: list[Picture], rest: list[Picture], pool: Pool, descriptor: str | None, peers: Peers) -> Planted:
    """Let every detector see all pictures, and every edit of the photos."""
    references = [*taken, *rest]
    bodies = [[picture.body] for picture in references]
    ours = joined(pool.map_in_order(partial(signs_of, descriptor=descriptor), bodies))
    signs = ours | peers([picture.body for picture in references])
    edits = []
    with progress("photos edited", len(taken), "photos") as advance:
        for seen, edited_bodies in pool.map_in_order(partial(edited_signs_of, descriptor), taken):
            edits.append(seen | peers(edited_bodies))
            advance(1)
    return Planted(taken, edits, references, signs)


def read_files(data: Path, peers: Peers) -> dict[str, Signs]:
    """Return the signs of imagededup's test files that are images, by name, one row each."""
    folder = data / "neardup/imagededup/mixed_images"
    bodies = {path.name: path.read_bytes() for path in sorted(folder.glob("*.jpg"))}
    images = {name: body for name, body in bodies.items() if sniff(body)}  # one of them is noise on purpose
    return {name: signs_of([body], None) | peers([body]) for name, body in images.items()}


if __name__ == "__main__":
    main()
