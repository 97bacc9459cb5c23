"""Embeddings of the pictures and texts that a protocol names, by a CLIP: kept on disk, resumed, shared over ranks.

A part is some consecutive units, or PART_TEXTS texts. Its file is named by a hash of what its embeddings are of, in a
folder that is named by the model's weights: so another protocol with the same pictures, or the same command after it
was killed, reads it, and a picture that was changed is embedded again. What is wrong with a file is kept too; what a
disk or a network did is not, nor is its part.

Shapes: B pictures of a batch, F of a unit, T texts, D embedding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from trainer.evaluation.protocols.findings import Floats
from trainer.evaluation.protocols.units import NOTHING, PICTURES, UNREADABLE, Embedded, Opened, Unit
from trainer.evaluation.scoring import prompt_means, tokenize_prompts
from trainer.loader.inference import Decoding, decode_batches
from trainer.models.clip import Clip
from trainer.models.identity import fingerprint
from trainer.models.inputs import normalise_images
from trainer.parallel.agreement import gathered
from trainer.parallel.progress import shared_progress
from trainer.parallel.ranks import ALONE, Ranks
from trainer.saving.tensorfile import read_sealed, write_sealed
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError, one_line
from wit.image import ImageRejected
from wit.storage import exists, join, make_folder, publish

T = TypeVar("T")

PART_TEXTS = 1_024
BATCH_PICTURES = 256
BATCH_BYTES = 64 << 20
"""Of image files that wait to be embedded together; frames of videos come as bitmaps of some megabytes."""


@dataclass(frozen=True)
class ClipEmbedder:
    """A CLIP in evaluation mode, on its device, and its tokenizer; all ranks must ask for the same."""

    model: Clip
    tokenizer: ClipTokenizer
    cache: str = ""
    """Folder in which embeddings are kept; blank: nowhere."""
    ranks: Ranks = ALONE
    batch_size: int = BATCH_PICTURES

    @property
    def scale(self) -> float:
        """The model's own: 1 / temperature."""
        return float(self.model.logit_scale.detach().exp())

    def embed(self, units: Sequence[Unit], part_units: int = PICTURES) -> Iterator[Embedded]:
        """Yield the embeddings of each unit, of the middle squares of its pictures; the ranks share the parts."""
        starts = range(0, len(units), part_units)
        with shared_progress(self.ranks, "embed", len(units), "items") as advance:
            for part in self._by_ranks(starts, lambda start: self._part(units[start : start + part_units])):
                advance(len(part))
                yield from part

    def texts(self, prompts: Sequence[Sequence[str]]) -> Floats:
        """Return unit embeddings (T, D); texts longer than the context are cut, as the tokenizer does."""
        starts = range(0, len(prompts), PART_TEXTS)
        parts: list[Tensor] = []
        with shared_progress(self.ranks, "embed texts", len(prompts), "texts") as advance:
            for part_TD in self._by_ranks(starts, lambda start: self._text_part(prompts[start : start + PART_TEXTS])):
                advance(len(part_TD))
                parts.append(part_TD)
        embeddings: Floats = torch.cat(parts).numpy() if parts else NOTHING
        return embeddings

    def _by_ranks(self, starts: Sequence[int], make: Callable[[int], T]) -> Iterator[T]:
        """Yield what `make` makes of each start, in order; each rank makes one of as many as there are ranks."""
        size = self.ranks.size
        for first in range(0, len(starts), size):
            own = first + self.ranks.rank
            made = make(starts[own]) if own < len(starts) else None
            yield from (each for each in gathered(self.ranks, made) if each is not None)

    def _part(self, units: Sequence[Unit]) -> list[Embedded]:
        """Return the embeddings of units, kept ones where there are any."""
        opened = [_open(unit) for unit in units]
        identities = [each.identity for each in opened if isinstance(each, Opened)]
        url = self._url("\n".join(identities).encode()) if len(identities) == len(units) else ""
        if url and exists(url):
            return _read_part(url, len(units))
        made = self._compute(opened)
        if url and all(each.reason != UNREADABLE for each in made):
            _write_part(url, made)
        return made

    def _text_part(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Return the embeddings (T, D) of texts, kept ones where there are any: those of the same tokens."""
        tokens_PL = tokenize_prompts(self.model, self.tokenizer, prompts)
        counts = torch.tensor([len(own) for own in prompts])
        url = self._url(str(tuple(tokens_PL.shape)).encode(), _bytes(counts), _bytes(tokens_PL))
        if url and exists(url):
            return _read(url, "rows")["rows"]
        rows_TD = prompt_means(self.model, self.tokenizer, prompts).float().cpu()
        if url:
            with publish(url) as file:
                write_sealed(file, {"rows": rows_TD})
        return rows_TD

    @cached_property
    def _folder(self) -> str:
        """Where this model's parts are kept; blank: nowhere."""
        if not self.cache:
            return ""
        folder = join(self.cache, f"{fingerprint(self.model)[:16]}-parts")
        make_folder(folder)
        return folder

    def _url(self, *what: bytes) -> str:
        if not self._folder:
            return ""
        digest = hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in what))
        return join(self._folder, f"{digest.hexdigest()[:32]}.safetensors")

    def _compute(self, opened: Sequence[Opened | Embedded]) -> list[Embedded]:
        """Embed what could be opened, the pictures of several units together; a unit with one broken is broken."""
        broken = {place: each for place, each in enumerate(opened) if isinstance(each, Embedded)}
        rows: list[list[Tensor]] = [[] for _ in opened]
        for owners, bodies in _batches(opened, broken, self.batch_size):
            for place, row in self._encode(bodies):
                if isinstance(row, Tensor):
                    rows[owners[place]].append(row)
                else:
                    broken.setdefault(owners[place], row)
        return [broken.get(place) or Embedded(torch.stack(own).numpy()) for place, own in enumerate(rows)]

    @torch.inference_mode()
    def _encode(self, bodies: Sequence[bytes]) -> Iterator[tuple[int, Tensor | Embedded]]:
        """Yield the place and the embedding (D,) of each image file, or why there is none."""
        device = next(self.model.parameters()).device
        side_px = self.model.config.vision.image_px
        how = Decoding(side_px, len(bodies), self.ranks.num_cores, pin=device.type == "cuda")
        for batch in decode_batches(bodies.__getitem__, range(len(bodies)), how):
            yield from ((one.place, Embedded(NOTHING, one.reason, one.detail)) for one in batch.rejected)
            if batch.places:
                images = normalise_images(batch.images.to(device, non_blocking=True))
                yield from zip(batch.places, self.model.encode_image(images).float().cpu(), strict=True)


def _open(unit: Unit) -> Opened | Embedded:
    try:
        return unit.open()
    except InputError as error:
        return Embedded(NOTHING, UNREADABLE, one_line(error))


def _batches(
    opened: Sequence[Opened | Embedded], broken: dict[int, Embedded], most: int
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield image files with the places of their units: `most`, or BATCH_BYTES, at a time.

    A unit whose pictures cannot all be read goes to `broken`; of one that is there no more is read.
    """
    owners: list[int] = []
    bodies: list[bytes] = []
    num_bytes = 0
    for place, each in enumerate(opened):
        if isinstance(each, Embedded):
            continue
        try:
            for body in each.pictures():
                owners.append(place)
                bodies.append(body)
                num_bytes += len(body)
                if len(bodies) >= most or num_bytes >= BATCH_BYTES:
                    yield owners, bodies
                    owners, bodies, num_bytes = [], [], 0
                if place in broken:
                    break
        except ImageRejected as error:
            broken[place] = Embedded(NOTHING, error.reason, error.detail)
        except InputError as error:
            broken[place] = Embedded(NOTHING, UNREADABLE, one_line(error))
    if bodies:
        yield owners, bodies


def _write_part(url: str, part: Sequence[Embedded]) -> None:
    facts = json.dumps([[each.reason, each.detail] for each in part])
    rows = [torch.from_numpy(each.rows_FD) for each in part if len(each.rows_FD)]
    tensors = {
        "rows": torch.cat(rows) if rows else torch.zeros(0, 0),
        "counts": torch.tensor([len(each.rows_FD) for each in part]),
        "reasons": torch.frombuffer(bytearray(facts.encode()), dtype=torch.uint8),
    }
    with publish(url) as file:
        write_sealed(file, tensors)


def _read(url: str, *names: str) -> dict[str, Tensor]:
    tensors = read_sealed(url)
    if set(tensors) != set(names):
        raise InputError(f"{url}: expected kept embeddings, found something else; remove it")
    return tensors


def _read_part(url: str, num_units: int) -> list[Embedded]:
    tensors = _read(url, "rows", "counts", "reasons")
    rows_FD, counts = tensors["rows"], tensors["counts"].tolist()
    reasons = json.loads(tensors["reasons"].numpy().tobytes())
    if not len(counts) == len(reasons) == num_units or sum(counts) != len(rows_FD):
        raise InputError(f"{url}: expected kept embeddings of {num_units} items, found others; remove it")
    parts = zip(torch.split(rows_FD, counts), reasons, strict=True)
    return [Embedded(NOTHING if reason else own.numpy(), reason, detail) for own, (reason, detail) in parts]


def _bytes(numbers: Tensor) -> bytes:
    return numbers.cpu().contiguous().numpy().tobytes()
