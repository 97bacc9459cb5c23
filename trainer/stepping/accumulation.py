"""The gradients of a batch whose rows do not all fit into the network at once: exactly those of the batch as a whole.

Micro-batch i of k takes a rank's rows i, i + k, ... Where the loss compares rows, the features of all micro-batches are
made first, without gradients but for the last; the loss over the whole batch then gives the gradient of each feature,
and the others go through the network once more to carry theirs to the weights (Gao et al., "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup", arXiv 2101.06983). The loss is computed once, so that its own
parameters, such as the scale, get their gradient once. Random choices are keyed by row and come out alike both times.

Shapes: b rows of a rank, B rows of a micro-batch, L length in tokens, S image side in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.models.inputs import autocast, normalise_images, trim_tokens
from trainer.models.packing import Packing, pack
from trainer.models.resnet import held_statistics
from trainer.objectives.objective import Losses, Objective
from trainer.parallel.ranks import Ranks
from trainer.parallel.wrapping import unwrap


@dataclass(frozen=True)
class MicroBatch:
    """Rows that are in the network at once, on the device."""

    images_B3SS: Tensor
    """uint8."""
    tokens_BL: Tensor
    packing: Packing | None
    seeds_B: Tensor
    """What random choices about a row depend on."""


@dataclass(frozen=True)
class Work:
    """What the rows of a rank go through."""

    model: nn.Module
    """What `wrapping.prepare` returned."""
    objective: Objective
    ranks: Ranks
    precision: str

    def forward(self, micro: MicroBatch) -> tuple[Tensor, ...]:
        """Return what the model says of each row."""
        with autocast(micro.images_B3SS.device, self.precision):
            images_B3SS = normalise_images(micro.images_B3SS)
            rows: tuple[Tensor, ...] = self.model(images_B3SS, micro.tokens_BL, micro.packing, micro.seeds_B)
        return rows

    def loss(self, features: tuple[Tensor, ...], num_rows: int) -> Losses:
        """Return the share of these rows of a rank in the loss of the batch; the rank has `num_rows` in all."""
        return self.objective.loss(features, unwrap(self.model), self.ranks, num_rows * self.ranks.size)


def cut(
    images_b3SS: Tensor, tokens_bL: NDArray[np.int64], seeds_b: Tensor, num_pieces: int, packs: bool
) -> list[MicroBatch]:
    """Return a rank's rows as micro-batches, on the device of the images; the tokens come from main memory."""
    pieces = []
    for number in range(num_pieces):
        rows = slice(number, None, num_pieces)
        tokens_BL, packing = _to_device(trim_tokens(tokens_bL[rows]), packs, images_b3SS.device)
        pieces.append(MicroBatch(images_b3SS[rows], tokens_BL, packing, seeds_b[rows]))
    return pieces


def _to_device(tokens_BL: NDArray[np.int64], packs: bool, device: torch.device) -> tuple[Tensor, Packing | None]:
    tokens = torch.from_numpy(np.ascontiguousarray(tokens_BL))
    packing = pack(tokens_BL) if packs else None
    if device.type == "cuda":  # from pinned memory a copy does not wait for the device
        tokens, packing = tokens.pin_memory(), packing.pin() if packing else None
    return tokens.to(device, non_blocking=True), packing.to(device) if packing else None


def backward(work: Work, pieces: Sequence[MicroBatch], factor: Tensor) -> Losses:
    """Add the gradients of the batch's loss, times `factor` (0-d), to those of the weights; return the rank's share.

    The gradients of weights become the mean over the ranks, so `factor` has to hold the number of ranks; those of
    `wrapping.loss_parameters` stay this rank's share.
    """
    return (_backward_paired if work.objective.pairs_rows else _backward_single)(work, pieces, factor)


def _backward_single(work: Work, pieces: Sequence[MicroBatch], factor: Tensor) -> Losses:
    """Rows have nothing to do with one another: the micro-batches' shares add up."""
    num_rows = _count_rows(pieces)
    shares = []
    for piece in pieces:
        with _alone(work.model, is_last=piece is pieces[-1]):
            losses = work.loss(work.forward(piece), num_rows)
            (losses.loss * factor).backward()  # type: ignore[no-untyped-call]
        shares.append(Losses(losses.loss.detach(), losses.num_hits))
    return Losses(torch.stack([one.loss for one in shares]).sum(), torch.stack([one.num_hits for one in shares]).sum())


def _backward_paired(work: Work, pieces: Sequence[MicroBatch], factor: Tensor) -> Losses:
    """The last micro-batch keeps its activations and goes back first, the others are computed twice."""
    *others, last = pieces
    with torch.no_grad(), held_statistics(work.model):
        features = [work.forward(piece) for piece in others]
    with _alone(work.model, is_last=not others):
        kept = work.forward(last)
        whole = tuple(_weave(parts).requires_grad_() for parts in zip(*features, kept, strict=True))
        losses = work.loss(whole, _count_rows(pieces))
        (losses.loss * factor).backward()  # type: ignore[no-untyped-call]
        gradients = [_unweave(one, len(pieces)) for one in whole]
        torch.autograd.backward(kept, [one[-1] for one in gradients])
    for number, piece in enumerate(others):
        with _alone(work.model, is_last=piece is others[-1]):
            torch.autograd.backward(work.forward(piece), [one[number] for one in gradients])
    return Losses(losses.loss.detach(), losses.num_hits)


def _count_rows(pieces: Sequence[MicroBatch]) -> int:
    return sum(len(piece.images_B3SS) for piece in pieces)


def _weave(parts: Sequence[Tensor]) -> Tensor:
    """Return the rows of micro-batches in the order of the rank's rows."""
    rows = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for number, part in enumerate(parts):
        rows[number :: len(parts)] = part.detach()
    return rows


def _unweave(rows: Tensor, num_pieces: int) -> list[Tensor]:
    """Return the gradient of each micro-batch's rows."""
    assert rows.grad is not None
    return [rows.grad[number::num_pieces] for number in range(num_pieces)]


def _alone(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Keep DDP from adding up gradients between the ranks before the last micro-batch.

    FSDP does so each time all the same: to wait would be to hold the whole model's gradients, which it is there to
    avoid.
    """
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
