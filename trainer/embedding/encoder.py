"""A checkpoint's model, ready to embed images and captions.

Shapes: B batch, S image side in px, L length in tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.embedding.folder import Opened
from trainer.interchange.opening import open_model, open_tokenizer
from trainer.loader.decode import decode_center
from trainer.models.clip import Clip
from trainer.models.identity import fingerprint
from trainer.models.inputs import autocast, normalise_images, trim_tokens
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError, UserError
from wit.image import ImageRejected
from wit.storage import read_bytes

Embeddings = NDArray[np.float32]


class Encoder:
    """Embeds images and captions: (B, D) of unit length, fp32, on the CPU."""

    def __init__(
        self, opened: Opened, model: Clip, open_tokenizer: Callable[[], ClipTokenizer], precision: str
    ) -> None:
        """`model` is in evaluation mode, on its device; `open_tokenizer` is called when the first captions come."""
        self.opened, self.model, self.precision = opened, model, precision
        self.config, self.device = model.config, model.logit_scale.device
        self._open_tokenizer = open_tokenizer

    @cached_property
    def tokenizer(self) -> ClipTokenizer:
        """The vocabulary; raises InputError when there is none."""
        return self._open_tokenizer()

    @property
    def dim(self) -> int:
        """D."""
        return self.config.embed_dim

    @property
    def side_px(self) -> int:
        """S."""
        return self.config.vision.image_px

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the activation, and names, shapes and values of the weights, whatever file they are from."""
        return fingerprint(self.model)

    @torch.inference_mode()
    def images(self, images_B3SS: torch.Tensor) -> Embeddings:
        """Return the embeddings of uint8 images; raises UserError when they are no numbers, as `texts` does."""
        with autocast(self.device, self.precision):
            image_BD = self.model.encode_image(normalise_images(images_B3SS.to(self.device, non_blocking=True)))
        return self._to_numpy(image_BD)

    def image_file(self, url: str) -> Embeddings:
        """Return the embedding (D,) of an image file; raises InputError when it is none."""
        try:
            image_3SS = decode_center(read_bytes(url), self.side_px)
        except ImageRejected as rejected:
            raise InputError(f"{url}: expected an image, found {rejected}") from rejected
        found: Embeddings = self.images(torch.from_numpy(image_3SS)[None])[0]
        return found

    @torch.inference_mode()
    def texts(self, texts: Sequence[str], batch_size: int = 256) -> Embeddings:
        """Return the embeddings of captions, in their order; those of about one length go through the model together.

        Raises InputError when there is no vocabulary, and UserError for embeddings that are no numbers.
        """
        tokens_BL = self.tokenizer(texts, self.config.text.context_length)
        lengths = tokens_BL.argmax(axis=1)
        out = np.empty((len(texts), self.dim), np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            tokens = torch.from_numpy(trim_tokens(tokens_BL[rows])).to(self.device)
            with autocast(self.device, self.precision):
                out[rows] = self._to_numpy(self.model.encode_text(tokens))
        return out

    def _to_numpy(self, x_BD: torch.Tensor) -> Embeddings:
        found: Embeddings = x_BD.float().cpu().numpy()
        if not np.isfinite(found).all():
            raise UserError(
                f"expected embeddings of finite numbers, found others in {self.precision}; "
                "use --precision fp32, or another checkpoint if that is what it gives"
            )
        return found


def open_encoder(
    checkpoint: str, device: torch.device, precision: str, merges: str = "", activation: str = ""
) -> Encoder:
    """Return what embeds with a checkpoint, as `open_model` names it, on a device.

    Its vocabulary is read when the first caption comes. Raises UserError for a model that does not embed.
    """
    name, model, vocabulary = open_model(checkpoint, merges, activation)
    if not isinstance(model, Clip):
        raise UserError(f"{name}: expected a model that embeds images and captions, found one that only predicts them")
    opened = Opened(name, vocabulary, model.config.activation)
    return Encoder(opened, model.to(device).eval(), partial(open_tokenizer, name, model, vocabulary), precision)
