"""Retrieval over a file of pairs: recall at 1, 5 and 10 both ways (paper, Table 13), with several captions an image.

Files: Karpathy's JSON of Flickr30k and COCO ({"images": [{"filename", "split", "sentences": [{"raw"}]}]}), COCO's own
({"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}), or rows of image and caption.

Shapes: N images, M captions, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer.evaluation.protocols.findings import Finding, Floats, Share, require_rows, share_of, similarities
from trainer.evaluation.retrieval import KS, retrieve
from trainer.evaluation.tables import MAX_BYTES, read_rows
from wit.errors import InputError
from wit.evaluation_sets.labels import read_text
from wit.rows import json_object

PREFIX = "a photo of {label}"
"""The paper puts "a photo of" before captions (Table 13)."""
MAX_CAPTIONS = 5
"""Of an image that are used: Flickr30k and COCO have five; a few images of COCO have more."""

PUBLISHED: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "flickr30k": {"text": {1: 88.0, 5: 98.7, 10: 99.4}, "image": {1: 68.7, 5: 90.6, 10: 95.2}},
    "mscoco": {"text": {1: 58.4, 5: 81.5, 10: 88.1}, "image": {1: 37.8}},
}
"""Zero-shot CLIP (Table 13), in percent: texts of an image, images of a text; COCO on the 5,000 images of its test."""


@dataclass(frozen=True)
class Pairs:
    """Images by name, captions, and the image of each caption."""

    images: tuple[str, ...]
    captions: tuple[str, ...]
    image_of_caption: tuple[int, ...]

    def keep(self, kept: Sequence[int]) -> Pairs:
        """Return the pairs of some images, by their places in ascending order."""
        place = {old: new for new, old in enumerate(kept)}
        captions = [(text, place[own]) for text, own in zip(self.captions, self.image_of_caption, strict=True)
                    if own in place]  # fmt: skip
        return Pairs(
            tuple(self.images[old] for old in kept),
            tuple(text for text, _ in captions),
            tuple(own for _, own in captions),
        )


def read_pairs(url: str, split: str = "test", max_captions: int = MAX_CAPTIONS) -> Pairs:
    """Return the pairs of a file, in its order, the first `max_captions` of an image.

    `split` chooses images where the file states splits; blank: all. Raises InputError when the file is missing or of
    another form, an image has no caption, or no image is of the split.
    """
    found = _of_json(url, split) if url.lower().endswith(".json") else _of_rows(url, split)
    captions: dict[str, list[str]] = {}
    for image, caption in found:
        own = captions.setdefault(image, [])
        if caption is not None and len(own) < max_captions:
            own.append(caption)
    if not captions:
        raise InputError(f"{url}: expected images of the split {split!r}, found none; name it so, or leave splits out")
    for image, own in captions.items():
        if not own:
            raise InputError(f"{url}: expected a caption of {image!r}, found none; leave the image out")
    return Pairs(
        tuple(captions),
        tuple(one for own in captions.values() for one in own),
        tuple(place for place, own in enumerate(captions.values()) for _ in own),
    )


_Found = Iterable[tuple[str, str | None]]


def _of_rows(url: str, split: str) -> _Found:
    for row in read_rows(url, ("image", "caption")):
        if not split or row.optional("split") in ("", split):
            yield row.text("image"), row.text("caption")


def _of_json(url: str, split: str) -> _Found:
    whole = json_object(url, read_text(url, MAX_BYTES))
    try:
        return _of_coco(whole) if "annotations" in whole else _of_karpathy(whole, split)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{url}: expected images with sentences (Karpathy), or images and annotations (COCO), found something else "
            f"({type(error).__name__}: {error})"
        ) from error


def _of_karpathy(whole: Mapping[str, object], split: str) -> _Found:
    found: list[tuple[str, str | None]] = []
    for image in whole["images"]:  # type: ignore[attr-defined]
        if split and image.get("split", split) != split:
            continue
        folder = image.get("filepath", "")
        name = f"{_text(folder)}/{_text(image['filename'])}" if folder else _text(image["filename"])
        found.append((name, None))
        found += [(name, _text(sentence["raw"])) for sentence in image["sentences"]]
    return found


def _text(value: object) -> str:
    """Return a text without space around it; raises TypeError for anything else, and for a blank one."""
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{str(value)[:60]!r} for a text")
    return value.strip()


def _of_coco(whole: Mapping[str, object]) -> _Found:
    names: dict[object, str] = {}
    for image in whole["images"]:  # type: ignore[attr-defined]
        if names.setdefault(image["id"], _text(image["file_name"])) != image["file_name"].strip():
            raise TypeError(f"two images of the id {image['id']}")
    found: list[tuple[str, str | None]] = [(name, None) for name in names.values()]
    captions = whole["annotations"]
    return found + [(names[one["image_id"]], _text(one["caption"])) for one in captions]  # type: ignore[attr-defined]


def measure_retrieval(image_ND: Floats, text_MD: Floats, pairs: Pairs, task: str) -> tuple[Finding, Finding]:
    """Return recall@1 of the texts of an image, and of the images of a text; at the other k in the details.

    Embeddings are of unit length, in the order of `pairs`. An image counts as right when one of its captions is among
    the k nearest of all. Raises InputError when their numbers or widths differ.
    """
    require_rows("images", len(image_ND), len(pairs.images))
    require_rows("captions", len(text_MD), len(pairs.captions))
    similarities(image_ND[:1], text_MD[:1])
    found = retrieve(torch.from_numpy(image_ND), torch.from_numpy(text_MD), pairs.image_of_caption)
    text = {k: share_of(found.caption_ranks <= k, f"recall@{k}") for k in KS}
    image = {k: share_of(found.image_ranks <= k, f"recall@{k}") for k in KS}
    own = np.bincount(pairs.image_of_caption)
    text_chance = float(np.mean(own / len(pairs.captions)))  # the nearest caption is drawn: one of its own, of all
    return (
        _finding(task, "text", text, len(pairs.captions), text_chance),
        _finding(task, "image", image, len(pairs.images), 1 / len(pairs.images)),
    )


def _finding(task: str, side: str, recalls: Mapping[int, Share], num_choices: int, chance: float) -> Finding:
    published = PUBLISHED.get(task, {}).get(side, {})
    return Finding(
        task,
        f"{side}_retrieval",
        "recall@1",
        recalls[1],
        num_classes=num_choices,
        chance=chance,
        details={
            "recalls": [share.to_json() for share in recalls.values()],
            "published_recalls": {f"recall@{k}": value for k, value in published.items()},
        },
    )
