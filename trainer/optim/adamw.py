"""AdamW (arXiv 1711.05101) whose moments may be kept in half precision, and whose step can be called off on the device.

A moment in bf16 is the number itself. In fp16 it is 4,096 times the number, and the second moment's root in place of
it: gradients of a mean over a batch are small, their squares far below fp16's least number, 6e-8. So kept, 1.5e-8 to
16 are normal numbers; below that epsilon rules, and above it a gradient of a mean is no gradient to follow.

The factor is one for all, unlike that of Jukebox (arXiv 2005.00341), which the paper follows and which takes it from
each tensor's largest: it is the same however the weights are shared out, and nothing has to be agreed on or saved.
Both are rounded stochastically (rounding.py); gains, biases and the scale keep their moments in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard
from torch.optim.adamw import adamw

from trainer.optim.groups import is_matrix, parameter_groups, text_weights
from trainer.optim.rounding import high_bits, low_bits, random_bits, round_stochastically
from trainer.parallel.wrapping import local
from trainer.recipe import Optimiser

FP16_SCALE = 4096.0
"""What moments in fp16 are multiplied by: 2^12 takes fp16's normal numbers, 6e-5 to 65,504, to 1.5e-8 to 16."""
BUCKET_ELEMENTS = 1 << 24
"""Elements in fp32 at once while moments in half precision are brought up to date: 2^24 x 4 bytes = 64 MB a tensor."""
_STATES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MOMENTS, _WEIGHTS = 0, 1  # what the random bits of a step are for


@dataclass(frozen=True)
class _Piece:
    """This rank's share of a parameter and of what is kept of it; in-place changes are changes of them."""

    weight: Tensor
    gradient: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor
    start: int
    """Number of its first element among all elements of the model."""

    def __len__(self) -> int:
        return self.weight.numel()

    def index(self) -> Tensor:
        """Return the numbers of its elements as int32: their lower 32 bits."""
        return torch.arange(self.start, self.start + len(self), device=self.weight.device).to(torch.int32)


class AdamW(torch.optim.Optimizer):
    """AdamW; `state[parameter]` holds `exp_avg`, `exp_avg_sq` and `step`, shared out as the parameter is.

    Weights with moments in half precision are to have a gradient at every step or at none: they share a step count.
    """

    def __init__(self, model: nn.Module, options: Optimiser, seed: int) -> None:
        self.options, self.seed = options, seed
        super().__init__(parameter_groups(model, options.weight_decay), {"lr": options.learning_rate})
        self._starts, self._rounded = _element_starts(model), set[Tensor]()
        if options.text_weights == "fp16":
            self._rounded |= set(text_weights(model))
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = _initial_state(parameter, _STATES[options.state])

    @torch.no_grad()
    def step(self, skip: Tensor | None = None) -> None:  # type: ignore[override]
        """Take a step from the gradients, unless `skip` (0-d, on the device) is 1: then nothing changes.

        The device decides: it is not waited for. Parameters without a gradient stay as they are.
        """
        for group in self.param_groups:
            with_gradient = [parameter for parameter in group["params"] if parameter.grad is not None]
            pieces = [self._piece(parameter) for parameter in with_gradient]
            rate, decay = group["lr"], group["weight_decay"]
            _step_whole([piece for piece in pieces if not _is_half(piece)], self.options, rate, decay, skip)
            for bucket in _buckets([piece for piece in pieces if _is_half(piece)]):
                self._step_half(bucket, rate, decay, skip)
            for bucket in _buckets([self._piece(each) for each in with_gradient if each in self._rounded]):
                self._round_weights(bucket, skip)

    def _piece(self, parameter: nn.Parameter) -> _Piece:
        state = self.state[parameter]
        assert parameter.grad is not None
        for name in ("exp_avg", "exp_avg_sq"):  # those that were loaded may lie otherwise
            state[name] = _laid_out(state[name], parameter)
        parts = (parameter, _laid_out(parameter.grad, parameter), state["exp_avg"], state["exp_avg_sq"])
        weight, gradient, mean, square = map(local, parts)
        start = self._starts[parameter] + _local_start(parameter)
        return _Piece(weight, gradient, mean, square, state["step"], start)

    def _step_half(self, pieces: Sequence[_Piece], rate: float, decay: float, skip: Tensor | None) -> None:
        options = self.options
        step = pieces[0].step + 1
        gradient, mean, square = _joined([piece.gradient for piece in pieces]), *_moments(pieces)
        mean.lerp_(gradient, 1 - options.beta1)
        square.mul_(options.beta2).addcmul_(gradient, gradient, value=1 - options.beta2)
        bits = random_bits(_index(pieces), self._key(_MOMENTS), step)
        encoded = _encode(mean, square, pieces[0].exp_avg.dtype, bits)
        root = (square / (1 - options.beta2 ** step.double())).sqrt_().add_(options.epsilon)
        change = mean.mul_(rate / (1 - options.beta1 ** step.double())).div_(root)
        keep = torch.ones_like(step) if skip is None else 1 - skip.to(step)
        if skip is not None:  # chosen, not multiplied: what is left out may not be finite
            change = torch.where(skip.bool(), 0.0, change)
            encoded = [torch.where(skip.bool(), old, new) for old, new in zip(_stored(pieces), encoded, strict=True)]
        weights = [piece.weight for piece in pieces]
        torch._foreach_mul_(weights, 1 - rate * decay * keep)
        torch._foreach_sub_(weights, _split(change, weights))
        for name, moment in zip(("exp_avg", "exp_avg_sq"), encoded, strict=True):
            _write(moment, [getattr(piece, name) for piece in pieces])
        torch._foreach_add_([piece.step for piece in pieces], keep)

    def _round_weights(self, pieces: Sequence[_Piece], skip: Tensor | None) -> None:
        """Round weights to numbers that fp16 has."""
        weights = [piece.weight for piece in pieces]
        flat = _joined(weights)
        bits = random_bits(_index(pieces), self._key(_WEIGHTS), pieces[0].step)
        rounded = round_stochastically(flat, torch.float16, low_bits(bits))
        _write(rounded if skip is None else torch.where(skip.bool(), flat, rounded), weights)

    def _key(self, purpose: int) -> int:
        return self.seed * 2 + purpose


def build_optimiser(model: nn.Module, options: Optimiser, seed: int = 0) -> AdamW:
    """Return AdamW over the model's parameters; the learning rate is set at each step.

    `seed` is for what is rounded stochastically. The model is on its device, and shared out, before this is called.
    """
    return AdamW(model, options, seed)


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor with its elements in memory as the parameter's lie, itself where they do already.

    The fused kernel goes through memory, so that a gradient that lies channels last would meet other weights.
    """
    if tensor.stride() == parameter.stride():
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)


def _local_start(tensor: Tensor) -> int:
    """Return the number of the first element of this rank's part among all of the tensor's."""
    if not isinstance(tensor, DTensor):
        return 0
    start, rows = 0, len(tensor)
    for dimension, placement in enumerate(tensor.placements):
        if isinstance(placement, Shard):  # as torch.chunk cuts: all parts are of one length, but the last
            assert placement.dim == 0
            share = -(-rows // tensor.device_mesh.size(dimension))
            before = min(rows, share * tensor.device_mesh.get_local_rank(dimension))
            start, rows = start + before, min(share, rows - before)
    return start * prod(tensor.shape[1:])


def _element_starts(model: nn.Module) -> dict[Tensor, int]:
    """Return the number of each parameter's first element when all are put one after the other."""
    parameters = list(model.parameters())
    starts = accumulate((parameter.numel() for parameter in parameters), initial=0)
    return dict(zip(parameters, starts, strict=False))


def _initial_state(parameter: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    kind = dtype if is_matrix(parameter) else torch.float32
    moments = {name: torch.zeros_like(parameter, dtype=kind) for name in ("exp_avg", "exp_avg_sq")}
    return moments | {"step": torch.zeros((), dtype=torch.float32, device=parameter.device)}


def _is_half(piece: _Piece) -> bool:
    return piece.exp_avg.dtype != torch.float32


def _buckets(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yield pieces in order, as many at once as have BUCKET_ELEMENTS elements, or one that has more."""
    bucket: list[_Piece] = []
    for piece in pieces:
        if bucket and sum(map(len, bucket)) + len(piece) > BUCKET_ELEMENTS:
            yield bucket
            bucket = []
        bucket.append(piece)
    if bucket:
        yield bucket


def _step_whole(pieces: Sequence[_Piece], options: Optimiser, rate: float, decay: float, skip: Tensor | None) -> None:
    """Take the step of those whose moments are in fp32, by one fused kernel for all of them."""
    adamw(
        [piece.weight for piece in pieces],
        [piece.gradient for piece in pieces],
        [piece.exp_avg for piece in pieces],
        [piece.exp_avg_sq for piece in pieces],
        [],
        [piece.step for piece in pieces],
        fused=True,
        found_inf=None if skip is None else skip.float(),  # the kernel then changes nothing: as torch's GradScaler asks
        amsgrad=False,
        maximize=False,
        beta1=options.beta1,
        beta2=options.beta2,
        lr=rate,
        weight_decay=decay,
        eps=options.epsilon,
    )


def _index(pieces: Sequence[_Piece]) -> Tensor:
    return torch.cat([piece.index() for piece in pieces])


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return the elements of tensors, one after the other, in fp32; a copy."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors]).float()


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


def _write(flat: Tensor, into: Sequence[Tensor]) -> None:
    torch._foreach_copy_(list(into), _split(flat, into))


def _stored(pieces: Sequence[_Piece]) -> tuple[Tensor, Tensor]:
    """Return both moments as they are kept, each flat."""
    means, squares = ([getattr(piece, name).reshape(-1) for piece in pieces] for name in ("exp_avg", "exp_avg_sq"))
    return torch.cat(means), torch.cat(squares)


def _moments(pieces: Sequence[_Piece]) -> tuple[Tensor, Tensor]:
    """Return both moments in fp32, each flat."""
    mean, square = (moment.float() for moment in _stored(pieces))
    if pieces[0].exp_avg.dtype == torch.float16:
        mean, square = mean / FP16_SCALE, (square / FP16_SCALE).square_()
    return mean, square


def _encode(mean: Tensor, square: Tensor, dtype: torch.dtype, bits: Tensor) -> list[Tensor]:
    """Return both moments as they are kept."""
    if dtype == torch.float16:
        mean, square = mean * FP16_SCALE, square.sqrt() * FP16_SCALE
    return [
        round_stochastically(mean, dtype, low_bits(bits)),
        round_stochastically(square, dtype, high_bits(bits)),
    ]
