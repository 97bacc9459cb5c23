"""Embeddings of the pictures and texts that a protocol names, by a model.

Shapes: N pictures, T texts, D embedding, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from trainer.evaluation.protocols.findings import Floats
from trainer.evaluation.scoring import build_classifier
from trainer.loader.inference import Decoding, decode_batches
from trainer.models.clip import Clip
from trainer.models.inputs import normalise_images
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError

Read = Callable[[int], bytes]


class Embedder(Protocol):
    """What a protocol needs of a model."""

    @property
    def scale(self) -> float:
        """What cosines are multiplied with to be logits: 1 / temperature."""

    def pictures(self, read: Read, names: Sequence[str]) -> Floats:
        """Return unit embeddings (N, D) of image files; raises InputError, by its name, for what is no image."""

    def texts(self, texts: Sequence[str], templates: Sequence[str]) -> Floats:
        """Return unit embeddings (T, D): of each text in a template, their mean over templates of unit length again."""


@dataclass(frozen=True)
class ClipEmbedder:
    """A CLIP in evaluation mode, on its device, and its tokenizer."""

    model: Clip
    tokenizer: ClipTokenizer
    num_threads: int = 2
    batch_size: int = 256

    @property
    def scale(self) -> float:
        """The model's own: 1 / temperature."""
        return float(self.model.logit_scale.detach().exp())

    @torch.no_grad()
    def pictures(self, read: Read, names: Sequence[str]) -> Floats:
        """Return unit embeddings (N, D), of the middle square of each; decoded by threads, ahead."""
        device = next(self.model.parameters()).device
        how = Decoding(self.model.config.vision.image_px, self.batch_size, self.num_threads, pin=device.type == "cuda")
        parts = []
        for batch in decode_batches(read, range(len(names)), how):
            for rejected in batch.rejected:
                raise InputError(
                    f"{names[rejected.place]}: expected an image, found {rejected.reason}: {rejected.detail}; "
                    "mend it or take it from the list"
                )
            parts.append(self.model.encode_image(normalise_images(batch.images.to(device, non_blocking=True))).cpu())
        embeddings: Floats = torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)
        return embeddings

    def texts(self, texts: Sequence[str], templates: Sequence[str]) -> Floats:
        """Return unit embeddings (T, D); texts longer than the context are cut, as the tokenizer does."""
        embeddings: Floats = build_classifier(self.model, self.tokenizer, texts, templates).cpu().numpy()
        return embeddings
