"""What an image tower makes of an evaluation set: computed once for all protocols, kept on disk, resumed.

A part is a run of the set's images, in order, in a file of its own that counts once it has its name; a folder of parts
belongs to one model and one content of a set. The tower's output follows from the features by one product, so that only
these are kept.

Shapes: N images, B of a batch, W width of the features, D of the tower's output, S side of an image in px.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.evaluation.sets import OpenSet, class_labels
from trainer.loader.inference import Decoding, decode_batches
from trainer.models.build import AnyModel
from trainer.models.config import ResNetConfig
from trainer.models.identity import fingerprint
from trainer.models.inputs import normalise_images
from trainer.parallel.ranks import ALONE, Ranks, sum_over
from trainer.saving.tensorfile import read_tensors, write_tensors
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
    towers: Floats
    """(N, D): the image tower's output, not of unit length: what the heads of all models read."""
    labels: NDArray[np.int64]
    """(N,): row of `classes`; -1: the set does not say."""
    items: list[str]
    classes: tuple[str, ...]
    """As the set calls them."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Images that could not be read, by reason; they are in no row."""

    @cached_property
    def embeddings(self) -> Floats:
        """(N, D) of unit length."""
        found: Floats = functional.normalize(torch.from_numpy(self.towers), dim=-1).numpy()
        return found


@dataclass(frozen=True)
class _Rows:
    """A part of a set: an image that cannot be read has features of zeros, as have all of another rank's parts."""

    items: list[str]
    labels: list[str | None]
    features_NW: Tensor
    rejected: dict[int, tuple[str, str]]
    """Reason and detail, by row."""


@torch.inference_mode()
def embed_set(
    model: AnyModel,
    opened: OpenSet,
    how: Embedding,
    ranks: Ranks = ALONE,
    advance: Callable[[int], None] = lambda _: None,
) -> Features:
    """Return the features of a set; the model is on its device and in evaluation mode.

    All ranks must call it, and get the same: each reads the whole set and computes its parts. `advance(n)` is called as
    n more images are done. Raises InputError for a set or an image that cannot be read, for kept features that are
    none, and for features that are no numbers.
    """
    folder = join(how.cache, f"{fingerprint(model)[:16]}-{opened.fingerprint()[:16]}") if how.cache else ""
    num_whole = _num_whole(model, folder, ranks)
    parts = []
    for rows in _kept(folder, num_whole) if num_whole else _made(model, opened, folder, ranks):
        if rows.rejected and not how.skips_broken and ranks.size == 1:
            raise _broken(opened, rows)
        advance(len(rows.items))
        parts.append(rows)
    if not num_whole:
        parts = [_shared(model, rows, ranks) for rows in parts]
        if folder and ranks.is_first:
            manifest.write(join(folder, WHOLE), {"num_parts": len(parts)})
    for rows in parts:
        if rows.rejected and not how.skips_broken:
            raise _broken(opened, rows)
    return _join(model, opened, parts)


def _num_whole(model: AnyModel, folder: str, ranks: Ranks) -> int:
    """Return how many parts a whole folder has; 0 when it is not whole in the eyes of every rank."""
    url = join(folder, WHOLE)
    found = int(manifest.read(url, "num_parts")["num_parts"]) if folder and exists(url) else 0
    seen = sum_over(ranks, torch.tensor([int(found > 0)], device=_device(model)))
    return found if int(seen) == ranks.size else 0


def _device(model: AnyModel) -> torch.device:
    return next(model.parameters()).device


def _width(model: AnyModel) -> int:
    vision = model.config.vision
    return model.config.embed_dim if isinstance(vision, ResNetConfig) else vision.width


def _kept(folder: str, num_parts: int) -> Iterator[_Rows]:
    for number in range(num_parts):
        yield _read_part(_part_url(folder, number))


def _made(model: AnyModel, opened: OpenSet, folder: str, ranks: Ranks) -> Iterator[_Rows]:
    """Yield the parts of a set, this rank's with features; those that are kept are not computed again."""
    if folder:
        make_folder(folder)
    for number, items in enumerate(_ahead(_batched(opened.items()))):
        url = _part_url(folder, number) if folder else ""
        if number % ranks.size != ranks.rank:
            zeros = torch.zeros(len(items), _width(model))
            yield _Rows([one.item for one in items], [one.label for one in items], zeros, {})
        elif url and exists(url):
            yield _read_part(url)
        else:
            rows = _compute(model, items, ranks)
            if url:
                _write_part(url, rows)
            yield rows


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


def _compute(model: AnyModel, items: list[Item], ranks: Ranks) -> _Rows:
    device = _device(model)
    features_NW = torch.zeros(len(items), _width(model))
    rejected: dict[int, tuple[str, str]] = {}
    side_px = model.config.vision.image_px
    how = Decoding(side_px, BATCH_IMAGES, ranks.num_cores, pin=device.type == "cuda")
    for batch in decode_batches(lambda place: items[place].body, range(len(items)), how):
        rejected |= {one.place: (one.reason, one.detail) for one in batch.rejected}
        if batch.places:
            images = normalise_images(batch.images.to(device, non_blocking=True))
            features_NW[list(batch.places)] = model.visual.features(images).float().cpu()
    return _Rows([one.item for one in items], [one.label for one in items], features_NW, rejected)


def _write_part(url: str, rows: _Rows) -> None:
    facts = {
        "items": rows.items,
        "labels": rows.labels,
        "rejected": [[row, *why] for row, why in rows.rejected.items()],
    }
    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    with publish(url) as file:
        write_tensors(file, {"features": rows.features_NW, "facts": text})


def _read_part(url: str) -> _Rows:
    tensors = read_tensors(url)
    try:
        facts = json.loads(tensors["facts"].numpy().tobytes())
        rejected = {int(row): (str(reason), str(detail)) for row, reason, detail in facts["rejected"]}
        rows = _Rows(facts["items"], facts["labels"], tensors["features"], rejected)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{url}: expected kept features, found something else; remove its folder") from error
    if not len(rows.items) == len(rows.labels) == len(rows.features_NW):
        raise InputError(f"{url}: expected features of {len(rows.items)} images, found others; remove its folder")
    return rows


def _shared(model: AnyModel, rows: _Rows, ranks: Ranks) -> _Rows:
    """Return a part with what the rank knows whose part it is; what was found in a broken image it alone knows."""
    if ranks.size == 1:
        return rows
    device = _device(model)
    features_NW = sum_over(ranks, rows.features_NW.to(device)).cpu()
    is_bad_N = torch.tensor([int(row in rows.rejected) for row in range(len(rows.items))], device=device)
    bad = sum_over(ranks, is_bad_N).nonzero().flatten().tolist()
    rejected = {row: rows.rejected.get(row, ("broken", "what another process says")) for row in bad}
    return _Rows(rows.items, rows.labels, features_NW, rejected)


def _broken(opened: OpenSet, rows: _Rows) -> InputError:
    row, (reason, detail) = next(iter(sorted(rows.rejected.items())))
    return InputError(
        f"{opened.listing.set.path}, {rows.items[row]}: expected an image, found {reason}: {detail}; fetch it again, "
        "or leave such images out with --skip-broken"
    )


def _join(model: AnyModel, opened: OpenSet, parts: list[_Rows]) -> Features:
    """Put parts together without the images that could not be read."""
    good = [row not in rows.rejected for rows in parts for row in range(len(rows.items))]
    said = tuple(label for rows in parts for label in rows.labels)
    classes = class_labels(opened, said)
    place = {name: number for number, name in enumerate(classes)}
    labels = np.array([place[label] for label, is_good in zip(said, good, strict=True) if is_good and label], np.int64)
    items = [
        item for item, is_good in zip((item for rows in parts for item in rows.items), good, strict=True) if is_good
    ]
    features_NW = torch.cat([rows.features_NW for rows in parts])[torch.tensor(good)]
    if not items:
        raise InputError(f"{opened.listing.set.path}: expected an image that can be read, found none")
    if not torch.isfinite(features_NW).all():
        raise InputError(f"{opened.name}: expected features of finite numbers, found others; use another checkpoint")
    device = _device(model)
    towers = [model.visual.project(part.to(device)).float().cpu() for part in torch.split(features_NW, PART_ITEMS)]
    rejected = Counter(reason for rows in parts for reason, _ in rows.rejected.values())
    return Features(
        features_NW.numpy(), torch.cat(towers).numpy(), labels, items, classes, dict(sorted(rejected.items()))
    )
