"""What an image tower makes of an evaluation set: computed once for all protocols, kept on disk, resumed.

A part is a run of the set's images, in order, in a file of its own that counts once it has its name; a folder of parts
belongs to one model and one content of a set. What the model's heads read follows from the features by one product.

Shapes: N images, B of a batch, W width of the features, S side of an image in px.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, compress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.evaluation.sets import OpenSet, class_labels, number_labels
from trainer.loader.inference import Decoding, decode_batches
from trainer.models.build import AnyModel
from trainer.models.identity import fingerprint
from trainer.models.inputs import normalise_images
from trainer.parallel.agreement import gathered
from trainer.parallel.progress import shared_progress
from trainer.parallel.ranks import ALONE, Ranks, sum_over
from trainer.saving.tensorfile import read_sealed, write_sealed
from wit import manifest
from wit.errors import InputError
from wit.evaluation_sets import Item
from wit.storage import exists, join, make_folder, publish

PART_ITEMS = 1_024
PART_BYTES = 256 << 20  # of encoded images, two such are in memory: one is read while the other is used
BATCH_IMAGES = 256
WHOLE = "features.json"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Embedding:
    """How a set is embedded."""

    cache: str = ""
    """Folder in which features are kept; blank: nowhere."""
    skips_broken: bool = False
    """Whether an image that cannot be read is left out and counted; else it is an error."""


@dataclass(frozen=True)
class Features:
    """What a model makes of the images of a set, row by row."""

    features: Floats
    """(N, W): before a Transformer's projection; a ResNet's attention pool's output."""
    labels: NDArray[np.int64]
    """(N,): row of `classes`; of images with several (N, C), as `number_labels` has it."""
    items: list[str]
    classes: tuple[str, ...]
    """As the set calls them."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Images that could not be read, by reason; they are in no row."""


@dataclass(frozen=True)
class _Rows:
    """A part of a set: an image that cannot be read has features of zeros."""

    items: list[str]
    labels: list[str | None]
    features_NW: Tensor
    rejected: dict[int, tuple[str, str]]
    """Reason and detail, by row."""


@torch.no_grad()
def embed_set(
    model: AnyModel,
    opened: OpenSet,
    how: Embedding,
    ranks: Ranks = ALONE,
    advance: Callable[[int], None] = lambda _: None,
) -> Features:
    """Return the features of a set; the model is on its device and in evaluation mode.

    All ranks must call it, and get the same: each reads the whole set, and computes its share of every part; all call
    the model equally often, as one in shards (FSDP) needs. `advance(n)` is called as n more images are done. Raises on
    every rank InputError for a set or an image that cannot be read, for kept features that are none, and for features
    that are no numbers.
    """
    folder = join(how.cache, f"{fingerprint(model)[:16]}-{opened.fingerprint()[:16]}") if how.cache else ""
    num_whole = _num_whole(folder, ranks)
    parts = []
    for rows in _kept(folder, num_whole, advance) if num_whole else _made(model, opened, folder, ranks, advance):
        if rows.rejected and not how.skips_broken:
            raise _broken(opened, rows)
        parts.append(rows)
    if folder and not num_whole and ranks.is_first:
        manifest.write(join(folder, WHOLE), {"num_parts": len(parts)})
    return _join(opened, parts)


def embed_shown(model: AnyModel, opened: OpenSet, how: Embedding, ranks: Ranks) -> Features:
    """Return `embed_set`'s features, with its progress shown."""
    with shared_progress(ranks, f"embed {opened.name}", opened.num_known, "images") as advance:
        return embed_set(model, opened, how, ranks, advance)


def _num_whole(folder: str, ranks: Ranks) -> int:
    """Return how many parts a whole folder has; 0 when it is not whole in the eyes of every rank."""
    if not folder:
        return 0
    url = join(folder, WHOLE)
    try:
        found = int(manifest.read(url, "num_parts")["num_parts"]) if exists(url) else 0
    except InputError:
        found = 0  # what it says is found out anew
    is_whole = all(exists(_part_url(folder, number)) for number in range(found))
    return min(gathered(ranks, found if is_whole else 0))


def _kept(folder: str, num_parts: int, advance: Callable[[int], None]) -> Iterator[_Rows]:
    for number in range(num_parts):
        rows = _read_part(_part_url(folder, number))
        yield rows
        advance(len(rows.items))


def _made(
    model: AnyModel, opened: OpenSet, folder: str, ranks: Ranks, advance: Callable[[int], None]
) -> Iterator[_Rows]:
    """Yield the parts of a set; those that are kept are not computed again."""
    if folder:
        make_folder(folder)
    for number, items in enumerate(_agreed(_ahead(_batched(opened.items())), ranks)):
        url = _part_url(folder, number) if folder else ""
        if url and all(gathered(ranks, exists(url))):
            rows = _read_part(url)
            advance(len(items))
        else:
            rows = _compute(model, items, ranks, advance)
            if url and ranks.is_first:
                _write_part(url, rows)
        yield rows


def _agreed(parts: Iterator[list[Item]], ranks: Ranks) -> Iterator[list[Item]]:
    """Yield the same; what one rank could not read is raised on all, so that none waits for it."""
    while True:
        part, error = None, None
        try:
            part = next(parts, None)
        except InputError as raised:
            error = raised
        for told in gathered(ranks, error):
            if told is not None:
                raise told
        if part is None:
            return
        yield part


def _part_url(folder: str, number: int) -> str:
    return join(folder, f"part-{number:05d}.safetensors")


def _batched(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Yield the items of parts: PART_ITEMS, or PART_BYTES, whatever is reached first."""
    part: list[Item] = []
    num_bytes = 0
    for item in items:
        part.append(item)
        num_bytes += len(item.body)
        if len(part) == PART_ITEMS or num_bytes >= PART_BYTES:
            yield part
            part, num_bytes = [], 0
    if part:
        yield part


def _ahead(parts: Iterator[list[Item]]) -> Iterator[list[Item]]:
    """Yield the same, each read while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, parts, None)
        while (part := waiting.result()) is not None:
            waiting = pool.submit(next, parts, None)
            yield part


def _compute(model: AnyModel, items: list[Item], ranks: Ranks, advance: Callable[[int], None]) -> _Rows:
    """Return a part with the features that all ranks together compute: of every `ranks.size`-th image each."""
    device, last = next(model.parameters()).device, len(items) - 1
    own: dict[int, Tensor] = {}
    rejected: dict[int, tuple[str, str]] = {}
    seen = told = 0
    places = range(ranks.rank, -(-len(items) // ranks.size) * ranks.size, ranks.size)
    # Places beyond the last stand for the last again: no rank calls the model less often than another.
    how = Decoding(model.config.vision.image_px, BATCH_IMAGES, ranks.num_cores, pin=device.type == "cuda")
    for batch in decode_batches(lambda place: items[min(place, last)].body, places, how):
        rejected |= {one.place: (one.reason, one.detail) for one in batch.rejected if one.place <= last}
        images = batch.images if batch.places else torch.zeros((1, 3, how.side_px, how.side_px), dtype=torch.uint8)
        found = model.image_features(normalise_images(images.to(device, non_blocking=True))).float().cpu()
        own |= {place: row_W for place, row_W in zip(batch.places, found, strict=False) if place <= last}
        seen += ranks.size * (len(batch.places) + len(batch.rejected))
        advance(min(seen, len(items)) - told)
        told = min(seen, len(items))
    features_NW = torch.zeros(len(items), found.shape[1])
    if own:
        features_NW[list(own)] = torch.stack(list(own.values()))
    if ranks.size > 1:
        features_NW = sum_over(ranks, features_NW.to(device)).cpu()
    everywhere = {row: why for each in gathered(ranks, rejected) for row, why in each.items()}
    facts = [one.item for one in items], [one.label for one in items]
    return _Rows(*facts, features_NW, dict(sorted(everywhere.items())))


def _write_part(url: str, rows: _Rows) -> None:
    facts = {
        "items": rows.items,
        "labels": rows.labels,
        "rejected": [[row, *why] for row, why in rows.rejected.items()],
    }
    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    with publish(url) as file:
        write_sealed(file, {"features": rows.features_NW, "facts": text})


def _read_part(url: str) -> _Rows:
    tensors = read_sealed(url)
    try:
        facts = json.loads(tensors["facts"].numpy().tobytes())
        rejected = {int(row): (str(reason), str(detail)) for row, reason, detail in facts["rejected"]}
        rows = _Rows(facts["items"], facts["labels"], tensors["features"], rejected)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{url}: expected kept features, found something else; remove it") from error
    if not len(rows.items) == len(rows.labels) == len(rows.features_NW):
        raise InputError(f"{url}: expected features of {len(rows.items)} images, found others; remove it")
    return rows


def _broken(opened: OpenSet, rows: _Rows) -> InputError:
    row, (reason, detail) = next(iter(sorted(rows.rejected.items())))
    return InputError(
        f"{opened.listing.set.path}, {rows.items[row]}: expected an image, found {reason}: {detail}; fetch it again, "
        "or leave such images out with --skip-broken"
    )


def _join(opened: OpenSet, parts: list[_Rows]) -> Features:
    """Put parts together without the images that could not be read; `parts` is empty afterwards."""
    good = [[row not in rows.rejected for row in range(len(rows.items))] for rows in parts]
    said = tuple(label for rows in parts for label in rows.labels)
    classes = class_labels(opened, said)
    is_good = list(chain.from_iterable(good))
    labels = number_labels(classes, [label for label in compress(said, is_good) if label])
    items = list(compress(chain.from_iterable(rows.items for rows in parts), is_good))
    if not items:
        raise InputError(f"{opened.listing.set.path}: expected an image that can be read, found none")
    rejected = Counter(reason for rows in parts for reason, _ in rows.rejected.values())
    tensors = [
        rows.features_NW[torch.tensor(each)] if rows.rejected else rows.features_NW  # a copy only where it has to be
        for rows, each in zip(parts, good, strict=True)
    ]
    parts.clear()
    return Features(_stacked(opened, tensors, len(items)), labels, items, classes, dict(sorted(rejected.items())))


def _stacked(opened: OpenSet, tensors: list[Tensor], num_rows: int) -> Floats:
    """Return the rows of tensors, which go as they are copied: those of ImageNet's training images are 4 GB."""
    rows_NW = np.empty((num_rows, tensors[0].shape[1]), np.float32)
    stop = num_rows
    while tensors:
        part = tensors.pop().numpy()
        if not np.isfinite(part).all():
            raise InputError(
                f"{opened.name}: expected features of finite numbers, found others; use another checkpoint"
            )
        rows_NW[stop - len(part) : stop] = part
        stop -= len(part)
    return rows_NW
