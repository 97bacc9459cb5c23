"""Which samples there are: shards, how many samples each has, and, block by block in their turn, where they lie.

Bytes and captions stay in the tars. What is in memory of all samples is 8 bytes a block of about 1,000; the rows of the
indexes are read for the blocks in use (`trainer.loader.pages`). So a set of 400 million begins as fast as a small one.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from threading import Lock
from typing import NamedTuple

import numpy as np

from trainer.loader.cache import Part, RangeCache
from trainer.loader.order import BatchOrder, Ints, Order, block_edges
from trainer.loader.pages import IndexFile, Page, opened_index
from trainer.loader.remote import Fetcher
from wit.errors import InputError
from wit.patterns import expand
from wit.shards import MAKE_INDEX, Described, find_index, folder_of, list_shards, stated_shards
from wit.storage import base_name, is_remote, join, local_path, read_bytes, size

BLOCK_SAMPLES = 1_024
CHECKED_SHARDS = 64  # so few are read before the first step, so that mistakes show at once: 64 x 10 ms
KEPT_SAMPLES = 1 << 21  # places of so many samples stay in memory, 90 MB: four windows of 2^18, and parts of blocks
THREADS = 16  # that read indexes: most wait for a disk or a server


class ShardFacts(NamedTuple):
    """What is known of a shard before its index is read."""

    url: str
    index_url: str
    num_samples: int
    index_sha256: str


class Located(NamedTuple):
    """Where a sample lies."""

    shard: str
    block: int
    key: str
    image: tuple[int, int]
    """Offset and length in the tar."""
    text: tuple[int, int]
    text_in_json: bool
    sha256: str
    """Of the image; empty where it is not known."""


@dataclass(frozen=True)
class ShardSet:
    """Shards that a pattern names, and how often their samples are seen in an epoch."""

    pattern: str
    weight: float
    shards: tuple[ShardFacts, ...]

    @property
    def num_samples(self) -> int:
        """Samples in all its shards."""
        return sum(each.num_samples for each in self.shards)


class Index:
    """The samples of sets of shards, numbered in the order of the sets, their shards, and the samples within them."""

    def __init__(
        self, sets: Sequence[ShardSet], block_samples: int = BLOCK_SAMPLES, cache: RangeCache | None = None
    ) -> None:
        """`cache` keeps parts of remote shards; without one each sample is fetched when its turn comes."""
        self.cache = cache
        self.sets = tuple(sets)
        self.facts = tuple(each for one in sets for each in one.shards)
        self.firsts: Ints = np.cumsum([0, *(each.num_samples for each in self.facts)])
        starts = np.cumsum([0, *(one.num_samples for one in sets)])
        self.edges: list[Ints] = [
            block_edges([each.num_samples for each in one.shards], block_samples, int(first))
            for one, first in zip(sets, starts, strict=False)
        ]
        """Of each set, the samples at which its blocks begin, and where the last ends."""
        self.block_firsts: Ints = np.concatenate([*(each[:-1] for each in self.edges), self.firsts[-1:]])
        self.hash = _hash(self.sets)
        """SHA-256 over what the samples are and where they lie; the folders that hold the shards do not count."""
        self.kept_samples = KEPT_SAMPLES
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._kept = 0
        self._lock, self._reading = Lock(), [Lock() for _ in range(64)]

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @property
    def shards(self) -> tuple[str, ...]:
        """Paths or URLs of the tars."""
        return tuple(each.url for each in self.facts)

    def shard_of(self, sample: int) -> str:
        """Return the path or URL of the tar of a sample."""
        return self.facts[self._shard_number(sample)].url

    def key(self, sample: int) -> str:
        """Return the key of a sample."""
        return self.locate(sample).key

    def order(self, window_samples: int, seed: int, batch_size: int) -> BatchOrder:
        """Return the order of training."""
        self.kept_samples = max(KEPT_SAMPLES, 4 * window_samples)
        return Order(self.edges, [each.weight for each in self.sets], window_samples, seed, batch_size)

    def parts(self, block: int) -> list[Part]:
        """Return the parts of a remote shard in which a block lies: one that holds nothing else."""
        facts = self.facts_of(block)
        return [Part(facts.url, *self.page(block).span, facts.index_sha256)]

    def facts_of(self, block: int) -> ShardFacts:
        """Return what is known of the shard in which a block lies."""
        return self.facts[self._shard_number(int(self.block_firsts[block]))]

    def block_of(self, samples: Ints | int) -> Ints:
        """Return the number of the block of each sample."""
        blocks: Ints = self.block_firsts.searchsorted(samples, side="right") - 1
        return blocks

    def locate(self, sample: int) -> Located:
        """Return where a sample lies; raises InputError when the index of its shard cannot be read."""
        return self.locate_all(np.array([sample]))[0]

    def locate_all(self, samples: Ints) -> list[Located]:
        """Return where samples lie; those of one block follow one another. Raises InputError as `locate`."""
        found = list[Located]()
        for block, group in groupby(zip(samples.tolist(), self.block_of(samples).tolist(), strict=True), itemgetter(1)):
            page, first = self.page(block), self.block_firsts.item(block)
            shard = self.shard_of(first)
            found += [_located(shard, block, page, sample - first) for sample, _ in group]
        return found

    def page(self, block: int) -> Page:
        """Return where the samples of a block lie; raises InputError when the index of its shard cannot be read."""
        with self._lock:
            if block in self._pages:
                self._pages.move_to_end(block)
                return self._pages[block]
        number = self._shard_number(int(self.block_firsts[block]))
        with self._reading[number % len(self._reading)]:  # threads that want blocks of one shard read its index once
            with self._lock:
                found = self._pages.get(block)
            return found or self._read(number, block)

    def _read(self, number: int, wanted: int) -> Page:
        """Read the page of a block; where there is room for all pages there are, those of its whole shard."""
        first, last = wanted, wanted + 1
        if len(self) <= self.kept_samples:
            first, last = np.searchsorted(self.block_firsts, self.firsts[number : number + 2]).tolist()
        rows = (self.block_firsts[first : last + 1] - self.firsts[number]).tolist()
        facts = self.facts[number]
        file = open_index_file(facts)
        if file.num_samples != facts.num_samples:
            raise InputError(f"{file.url}: expected {facts.num_samples} samples, found {file.num_samples}; check it")
        remote = is_remote(facts.url)
        tar_bytes = sys.maxsize if remote else size(facts.url)  # one more request for each remote one is too many
        pages = file.pages(rows, tar_bytes, with_sha256=remote)
        with self._lock:
            for block, page in zip(range(first, last), pages, strict=True):
                self._kept += 0 if block in self._pages else len(page)
                self._pages[block] = page
            while self._kept > max(self.kept_samples, len(pages[0])):
                self._kept -= len(self._pages.popitem(last=False)[1])
        return pages[wanted - first]

    def _shard_number(self, sample: int) -> int:
        return int(self.firsts.searchsorted(sample, side="right")) - 1


def _located(shard: str, block: int, page: Page, row: int) -> Located:
    return Located(
        shard=shard,
        block=block,
        key=page.key(row),
        image=(page.image_offset.item(row), page.image_length.item(row)),
        text=(page.text_offset.item(row), page.text_length.item(row)),
        text_in_json=page.text_in_json.item(row),
        sha256="" if page.sha256 is None else bytes(page.sha256[row]).hex(),
    )


def open_index_file(facts: ShardFacts) -> IndexFile:
    """Open the index of a shard; raises InputError."""
    remote = is_remote(facts.index_url)
    source = _index_bytes(facts.index_url) if remote else local_path(facts.index_url)
    return opened_index(source, facts.index_url, facts.url)


def find_shards(pattern: str) -> list[str]:
    """Return the tars that a path, URL, brace or glob pattern names, or that lie in a folder it names.

    Raises InputError when there are none, when one is named twice, or is a pipe.
    """
    found = [
        shard
        for path in expand(pattern)
        for shard in (list_shards(path) if os.path.isdir(local_path(path)) else [path])
        if shard.endswith(".tar")
    ]
    if not found:
        remedy = "; name them all, as URL/{00000..00099}.tar or URL/*.tar" if is_remote(pattern) else ""
        raise InputError(f"{pattern}: expected shards (*.tar), found none{remedy}")
    require_once(pattern, found)
    for shard in found:
        if not is_remote(shard) and os.path.exists(local_path(shard)) and not os.path.isfile(local_path(shard)):
            raise InputError(f"{shard}: expected a tar, found a folder, a pipe or a device")
    return found


def require_once(where: str, shards: Sequence[str]) -> None:
    """Raise InputError when a shard is there twice."""
    names = {shard: shard if is_remote(shard) else os.path.abspath(local_path(shard)) for shard in shards}
    shard, times = Counter(names[shard] for shard in shards).most_common(1)[0]
    if times > 1:
        raise InputError(f"{where}: expected each shard once, found {shard} {times} times")


def split_weight(text: str) -> tuple[float, str]:
    """Return (weight, pattern) of `[WEIGHT=]PATTERN`; raises InputError for a weight that is not above 0."""
    weight, equals, pattern = text.partition("=")
    try:
        value = float(weight) if equals else 1.0
    except ValueError:  # a name in which there is such a sign
        return 1.0, text
    if not 0 < value <= 1_000:
        raise InputError(f"{text}: expected a weight above 0 and at most 1,000, found {weight}")
    return value, pattern if equals else text


def read_index(*patterns: str, block_samples: int = BLOCK_SAMPLES, cache: RangeCache | None = None) -> Index:
    """Return the index of every shard that `[WEIGHT=]PATTERN`s name, each pattern a set.

    Raises InputError when there is none, no sample in all, or a shard twice.
    """
    weighted = [split_weight(pattern) for pattern in patterns]
    found = [find_shards(pattern) for _, pattern in weighted]
    require_once(" ".join(patterns), [shard for shards in found for shard in shards])
    stated = {folder: stated_shards(folder) for folder in {folder_of(shard) for shards in found for shard in shards}}
    sets = []
    with ThreadPoolExecutor(THREADS) as pool:
        for (weight, pattern), shards in zip(weighted, found, strict=True):
            facts = pool.map(lambda shard: _facts(shard, stated[folder_of(shard)].get(base_name(shard))), shards)
            sets.append(ShardSet(pattern, weight, tuple(facts)))
            if not sets[-1].num_samples:
                raise InputError(f"{pattern}: expected samples, found {len(shards)} shards that hold none")
            if not round(weight * sets[-1].num_samples):
                raise InputError(
                    f"{weight:g}={pattern}: expected a weight that takes a sample of {sets[-1].num_samples} an epoch, "
                    "found one that takes none; set a larger one"
                )
        index = Index(sets, block_samples, cache)
        if len(index.facts) <= CHECKED_SHARDS:
            list(pool.map(index.page, index.block_of(index.firsts[:-1][np.diff(index.firsts) > 0]).tolist()))
    return index


def _facts(shard: str, stated: Described | None) -> ShardFacts:
    """Return what the manifest beside a shard says of it, or else what its index does, which is read for that."""
    name, num_bytes, digest = (
        (stated.of_index.get(field) for field in ("name", "bytes", "sha256")) if stated else ("",) * 3
    )
    if stated and isinstance(name, str) and isinstance(digest, str) and name.endswith(".parquet") and "/" not in name:
        url = join(folder_of(shard), name)
        if is_remote(url) or (os.path.exists(local_path(url)) and size(url) == num_bytes):
            return ShardFacts(shard, url, stated.of_shard["num_samples"], digest)
    url = find_index(shard)
    data = _index_bytes(url)
    return ShardFacts(shard, url, opened_index(data, url, shard).num_samples, hashlib.sha256(data).hexdigest())


def _index_bytes(url: str) -> bytes:
    try:
        return Fetcher().read_whole(url) if is_remote(url) else read_bytes(url)
    except InputError as error:
        raise InputError(f"{error}; {MAKE_INDEX}, or set data.num_samples to train meanwhile") from error


def _hash(sets: Sequence[ShardSet]) -> str:
    digest = hashlib.sha256()
    for one in sets:
        digest.update(f"{one.weight!r}\0{len(one.shards)}\0".encode())
        for each in one.shards:
            digest.update(f"{base_name(each.url)}\0{each.num_samples}\0{each.index_sha256}\0".encode())
    return digest.hexdigest()


def read_captions(index: Index) -> Iterator[str]:
    """Yield the caption of every sample, from the indexes, in order; raises InputError when one cannot be read."""
    for facts in index.facts:
        file = open_index_file(facts)
        yield from file.read(0, file.num_samples, ("caption",))["caption"].to_pylist()
