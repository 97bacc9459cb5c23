"""Retrieval: of all images the one that a caption is of, of all captions those of an image (recall at k).

Shapes: N images, M captions, R rows of a block, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wit.errors import InputError

KS = (1, 5, 10)
BLOCK_SCORES = 1 << 24  # of a block, 64 MB in fp32


@dataclass(frozen=True)
class Retrieval:
    """The rank of what belongs to each query, 1 the best; of equal scores the first row is the better."""

    image_ranks: NDArray[np.int64]
    """(M,): of each caption's image among all images."""
    caption_ranks: NDArray[np.int64]
    """(N,): of the best of each image's captions among all captions."""

    def text_to_image(self, k: int) -> float:
        """Return recall@k: the share of captions whose image is among the k nearest."""
        return float((self.image_ranks <= k).mean())

    def image_to_text(self, k: int) -> float:
        """Return recall@k: the share of images of whose captions one is among the k nearest."""
        return float((self.caption_ranks <= k).mean())


def retrieve(image_ND: Tensor, text_MD: Tensor, image_of_text: Sequence[int]) -> Retrieval:
    """Return the ranks of images and captions for one another, by their products; unit vectors give cosines.

    `image_of_text` names the row of each caption's image; an image may have several. Memory: a block of BLOCK_SCORES
    scores. Raises InputError when an image has no caption, or a caption no image.
    """
    owner_M = np.asarray(image_of_text, np.int64)
    if len(owner_M) != len(text_MD) or sorted(set(owner_M.tolist())) != list(range(len(image_ND))):
        raise InputError(
            f"retrieval: expected captions of each of {len(image_ND)} images, found {len(owner_M)} captions of "
            f"{len(set(owner_M.tolist()))} images"
        )
    images_M = torch.from_numpy(owner_M).to(text_MD.device)
    image_rank_M = [_ranks(score, images_M[rows, None]) for rows, score in _blocks(text_MD, image_ND)]
    order = torch.from_numpy(np.argsort(owner_M, kind="stable")).to(text_MD.device)
    counts = np.bincount(owner_M, minlength=len(image_ND))
    own_NC = _padded(order, counts)
    caption_rank_N = [_ranks(score, own_NC[rows]) for rows, score in _blocks(image_ND, text_MD)]
    return Retrieval(torch.cat(image_rank_M).cpu().numpy(), torch.cat(caption_rank_N).cpu().numpy())


def _blocks(queries: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the scores of some queries with all others, fp32."""
    height = max(1, BLOCK_SCORES // len(others))
    for start in range(0, len(queries), height):
        rows = slice(start, start + height)
        yield rows, queries[rows].float() @ others.float().T


def _padded(order: Tensor, counts: NDArray[np.int64]) -> Tensor:
    """Return each image's captions as rows of one length: the first is repeated where an image has fewer."""
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    column = np.arange(counts.max())
    return order[torch.from_numpy(starts[:, None] + np.where(column < counts[:, None], column, 0)).to(order.device)]


def _ranks(score_RN: Tensor, own_RC: Tensor) -> Tensor:
    """Return the rank of the best of each query's own rows: one and the others above it, or equal and before it."""
    own_score_RC = score_RN.gather(1, own_RC)
    best_R1 = own_score_RC.max(dim=1, keepdim=True).values
    last = score_RN.shape[1]
    first_R1 = torch.where(own_score_RC == best_R1, own_RC, last).min(dim=1, keepdim=True).values
    before_RN = torch.arange(last, device=score_RN.device) < first_R1
    return 1 + ((score_RN > best_R1) | ((score_RN == best_R1) & before_RN)).sum(dim=1)
