"""Transformer captioning, a baseline of the paper's Figure 2: an image tower and a language model write the caption.

The paper names a "63 million parameter transformer language model" (section 2.3) that is trained together with an
image tower to predict the caption, and does not say how it is given the image. Its one account of such a model is the
LM RN50 of its linear probes: the output of the CNN is projected into four tokens, a prefix of the language model. So it
is here. The language model is CLIP's text tower, and its token embeddings are the output layer too, as in GPT-2:
63,165,952 parameters beside ViT-B/32.

Shapes: B batch, L length in tokens, N tokens of packed captions, P length of the prefix, S image side in px, W width,
V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.clip import build_image_tower
from trainer.models.config import ClipConfig
from trainer.models.packing import Packing
from trainer.models.reading import FeatureReader
from trainer.models.text import TextModel

PREFIX_TOKENS = 4  # the paper's LM RN50


class Captioner(FeatureReader, TextModel):
    """The image tower of a CLIP, a linear layer to the prefix, and a causal Transformer over prefix and caption."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = build_image_tower(config)
        self.prefix = nn.Linear(config.embed_dim, PREFIX_TOKENS * config.text.width)
        self.build_text(config)

    def encode_prefix(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, P, W): what the language model is told of each image."""
        return self.read_tower(self.visual(images_B3SS, seeds_B))

    def read_tower(self, tower_BD: Tensor) -> Tensor:
        """Return (B, P, W): the prefix, from what the image tower puts out."""
        prefix: Tensor = self.prefix(tower_BD)
        return torch.stack(prefix.chunk(PREFIX_TOKENS, dim=1), dim=1)  # FSDP warns at each step of a view

    def predict_tokens(self, prefix_BPW: Tensor, tokens_BL: Tensor) -> Tensor:
        """Return (B, L - 1, V) logits of each token after the first, from the prefix and the tokens before it."""
        text_BLW = self.embed_tokens(tokens_BL[:, :-1])
        x_BLW = self.transformer(torch.cat([prefix_BPW.to(text_BLW.dtype), text_BLW], dim=1))
        return self._logits(x_BLW[:, PREFIX_TOKENS:])

    def _predict_packed(self, prefix_BPW: Tensor, tokens_BL: Tensor, packing: Packing) -> Tensor:
        """Return (N, V) logits of the token after each of the captions' tokens; after an end mark they mean nothing."""
        text_NW = self.embed_tokens(tokens_BL, packing)
        with_prefix = _Prefixed(packing)
        x = with_prefix.join(prefix_BPW.to(text_NW.dtype), text_NW)
        return self._logits(self.transformer(x, with_prefix.packing).index_select(0, with_prefix.text_N))

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(self.ln_final(x), self.token_embedding.weight)

    def log_likelihoods(self, prefix_BPW: Tensor, tokens_BL: Tensor) -> Tensor:
        """Return (B,) log-probabilities of whole captions, their end marks included, fp32 in nats."""
        surprise_BL = _surprise(self.predict_tokens(prefix_BPW, tokens_BL), tokens_BL[:, 1:])
        return -(surprise_BL * _is_predicted(tokens_BL)).sum(dim=1)

    def forward(
        self,
        images_B3SS: Tensor,
        tokens_BL: Tensor,
        packing: Packing | None = None,
        seeds_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (B,) losses in nats a token, and (B,) shares of the tokens that were the likeliest.

        Each token is predicted from those before it as they were written (teacher forcing), the end mark too. A row's
        loss is the mean over its own tokens: every caption counts alike, whatever its length, and the mean over a batch
        is the same in whatever pieces it is computed.
        """
        prefix_BPW = self.encode_prefix(images_B3SS, seeds_B)
        if packing is None:
            logits, targets = self.predict_tokens(prefix_BPW, tokens_BL), tokens_BL[:, 1:]
        else:
            logits = self._predict_packed(prefix_BPW, tokens_BL, packing)
            targets = packing.pack(tokens_BL.roll(-1, dims=1))
        surprise, is_hit = _surprise(logits, targets), (logits.argmax(dim=-1) == targets).float()
        if packing is not None:
            surprise, is_hit = packing.unpack(surprise)[:, :-1], packing.unpack(is_hit)[:, :-1]
        share_BL = _is_predicted(tokens_BL).float()
        share_BL = share_BL / share_BL.sum(dim=1, keepdim=True)
        return (surprise * share_BL).sum(dim=1), (is_hit * share_BL).sum(dim=1)


class _Prefixed:
    """Where prefixes and captions lie when each caption is packed behind its prefix."""

    def __init__(self, captions: Packing) -> None:
        device = captions.places.device
        num_rows = captions.num_captions
        row_N = captions.places // captions.length
        row_B = torch.arange(num_rows, device=device)
        place_P = torch.arange(PREFIX_TOKENS, device=device)
        length = captions.length + PREFIX_TOKENS
        bounds = captions.bounds + PREFIX_TOKENS * torch.arange(num_rows + 1, dtype=torch.int32, device=device)
        self.text_N = torch.arange(len(row_N), device=device) + PREFIX_TOKENS * (row_N + 1)
        self._prefix = (bounds[:-1, None] + place_P).flatten().long()
        self.packing = Packing(
            places=self.join(length * row_B[:, None] + place_P, captions.places + PREFIX_TOKENS * (row_N + 1)),
            positions=self.join(place_P.expand(num_rows, -1), captions.positions + PREFIX_TOKENS),
            last=captions.last + PREFIX_TOKENS * (row_B + 1),
            bounds=bounds,
            length=length,
            has_kernel=captions.has_kernel,
        )

    def join(self, prefix_BP: Tensor, text_N: Tensor) -> Tensor:
        """Return the (B, P, ...) items of prefixes and the (N, ...) ones of captions in their common order."""
        joined = text_N.new_empty(len(self._prefix) + len(self.text_N), *text_N.shape[1:])
        joined = joined.index_copy(0, self._prefix, prefix_BP.flatten(0, 1))
        return joined.index_copy(0, self.text_N, text_N)


def _is_predicted(tokens_BL: Tensor) -> Tensor:
    """Return (B, L - 1), true at what follows the start mark, up to the end mark (the highest id)."""
    places_L = torch.arange(1, tokens_BL.shape[1], device=tokens_BL.device)
    return places_L <= tokens_BL.argmax(dim=1, keepdim=True)


def _surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """Return minus the log-probability of each target, fp32; logits (..., V), targets (...)."""
    flat = functional.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), reduction="none")
    return flat.view(targets.shape)
