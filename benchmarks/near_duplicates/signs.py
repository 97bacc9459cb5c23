"""What each detector sees of a picture, and how far apart two of them are.

Every distance is a whole number, so that curves are sums of counts: bits for hashes, thousandths of the cosine distance
(1 - cosine) for descriptors.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from benchmarks.edits import EDITS, edited, photo_of
from benchmarks.near_duplicates.pictures import Picture
from wit import descriptors
from wit.fingerprint import TURNS, Prints, fingerprint

Array = npt.NDArray[Any]
Distances = npt.NDArray[np.int32]
Signs = dict[str, Array]
"""By the name of a detector, a row a picture: words of bits [N, W] uint64, or unit vectors [N, D] float32; and by
`quality` PDQ's, [N]."""

COSINE_STEPS = 1000
"""Distances of vectors are (1 - cosine) in such parts."""
PEERS_SCRIPT = Path(__file__).with_name("peers.py")
_PEERS = {"imagededup PHash": 8, "imagededup DHash": 8, "pdqhash": 32}
"""Bytes of each of the peers' answers, in their order."""


@dataclass(frozen=True)
class Detector:
    """A detector by the name that tables show; `most` is its largest distance, `radii` those that tables show."""

    name: str
    most: int
    radii: tuple[int, ...]

    def distances(self, queries: Array, references: Array) -> Distances:
        """Return the distance of each query to each reference, [Q, R]."""
        if queries.dtype == np.uint64:
            differing = np.bitwise_count(queries[:, None] ^ references[None])
            bits: Distances = differing.sum(axis=2, dtype=np.int32)
            return bits
        cosines = np.clip(queries @ references.T, -1, 1)
        steps: Distances = np.rint((1 - cosines) * COSINE_STEPS).astype(np.int32)
        return steps


PHASH_RADII, PDQ_RADII = (0, 2, 4, 6, 8, 10, 12, 14), (0, 10, 20, 31, 40, 50, 60, 70, 80, 90)
HASHES = (
    Detector("pHash", 64, PHASH_RADII),
    Detector("pHash exact", 64, PHASH_RADII),
    Detector("PDQ", 256, PDQ_RADII),
    Detector("PDQ exact", 256, PDQ_RADII),
)
PEERS = (
    Detector("imagededup PHash", 64, PHASH_RADII),
    Detector("imagededup DHash", 64, PHASH_RADII),
    Detector("pdqhash", 256, PDQ_RADII),
)
LEARNED = Detector("learned", 2 * COSINE_STEPS, (50, 100, 150, 200, 250, 300, 400, 500, 600, 700))


def signs_of(bodies: Sequence[bytes], descriptor: str | None) -> Signs:
    """Return what our detectors see of images; `descriptor` names the file of a learned one."""
    fast, exact = (Prints.concat(fingerprint(body, exact=each) for body in bodies) for each in (False, True))
    signs: Signs = {"quality": fast.quality}
    for suffix, prints in (("", fast), (" exact", exact)):
        signs |= {f"pHash{suffix}": prints.phash[:, None], f"PDQ{suffix}": prints.pdq}
    return signs | ({"learned": _loaded(descriptor).describe(list(bodies))} if descriptor else {})


@lru_cache(maxsize=1)
def _loaded(descriptor: str) -> descriptors.Descriptor:
    return descriptors.load(descriptor)


def turned_signs_of(picture: Picture) -> Signs:
    """Return the hashes of a picture in its eight turns, a row a turn."""
    prints = fingerprint(picture.body, turns=tuple(range(len(TURNS))))
    return {"pHash": prints.phash[:, None], "PDQ": prints.pdq}


def edited_signs_of(descriptor: str | None, photo: Picture) -> tuple[Signs, list[bytes]]:
    """Return what our detectors see of every edit of a photo, in the order of EDITS, and the edits' bodies."""
    pixels = photo_of(photo.body)
    bodies = [edited(edit, pixels) for edit in EDITS]
    return signs_of(bodies, descriptor), bodies


def joined(parts: Iterable[Signs]) -> Signs:
    """Return signs one behind the other."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows(signs: Signs, which: Array | slice) -> Signs:
    """Return some rows of signs."""
    return {name: array[which] for name, array in signs.items()}


@contextmanager
def peers_of(python: str) -> Iterator[Callable[[Sequence[bytes]], Signs]]:
    """Yield a function from bodies to what the peers see of them, in a process of `python`; without one, nothing."""
    if not python:
        yield lambda bodies: {}
        return
    with subprocess.Popen([python, str(PEERS_SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, answers = process.stdin, process.stdout
        yield lambda bodies: _ask(to, answers, bodies)
        to.close()


def _ask(to: IO[bytes], answers: IO[bytes], bodies: Sequence[bytes]) -> Signs:
    length = sum(_PEERS.values())
    answered = []
    for body in bodies:
        to.write(struct.pack("<I", len(body)) + body)
        to.flush()
        answer = answers.read(length)
        if len(answer) != length:
            raise SystemExit("the peers' process ended: see its message above")
        answered.append(answer)
    table = np.frombuffer(b"".join(answered), np.uint8).reshape(-1, length)
    ends = np.cumsum(list(_PEERS.values()))
    parts = np.split(table, ends[:-1], axis=1)
    return {name: _words(part) for name, part in zip(_PEERS, parts, strict=True)}


def _words(hashes: Array) -> Array:
    return np.ascontiguousarray(hashes).view(">u8").astype(np.uint64)
