"""What the ranks tell one another from CPU to CPU: no word of it waits for a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.parallel.ranks import Ranks
from wit.errors import StageError, WitError

T = TypeVar("T")


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Turn what a message to a rank that is gone raises into a StageError; a rank that goes takes the others along."""
    try:
        yield
    except RuntimeError as error:
        if ranks.size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise StageError(
            f"rank {ranks.rank} of {ranks.size}: another rank ended, or was silent for too long; it says why; the last "
            "checkpoint is kept, the same command goes on from there"
        ) from error


def from_first(ranks: Ranks, make: Callable[[], T]) -> T:
    """Return on every rank what `make` returns on the first, where alone it is called; the result is pickled.

    A WitError there ends the others with its exit code, silently: the first tells it.
    """
    if ranks.size == 1:
        return make()
    told: list[Any] = [None, None]
    error: WitError | None = None
    if ranks.is_first:
        try:
            told[0] = make()
        except WitError as raised:
            error, told[1] = raised, raised.exit_code
    dist.broadcast_object_list(told, src=0)
    if error is not None:
        raise error
    if told[1] is not None:
        raise SystemExit(told[1])
    result: T = told[0]
    return result


def tensors_from_first(ranks: Ranks, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return on every rank the tensors, of the CPU, that `make` returns on the first; errors as in `from_first`."""
    made: dict[str, Tensor] = {}

    def shapes() -> dict[str, tuple[torch.Size, torch.dtype]]:
        made.update(make())
        return {name: (tensor.shape, tensor.dtype) for name, tensor in made.items()}

    for name, (shape, dtype) in from_first(ranks, shapes).items():
        tensor = made.setdefault(name, torch.empty(shape, dtype=dtype))
        if ranks.size > 1:
            dist.broadcast(tensor.flatten().view(torch.uint8), src=0)  # a view: tensors of the CPU are whole here
    return made


def gathered(ranks: Ranks, value: T) -> list[T]:
    """Return the value of each rank, in their order."""
    if ranks.size == 1:
        return [value]
    values: list[Any] = [None] * ranks.size
    dist.all_gather_object(values, value)
    return values


class Flag:
    """A small number that any rank may raise and that all see at the same call, one call later."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._told: tuple[dist.Work, Tensor] | None = None

    def exchange(self, value: int) -> int:
        """Return the largest value of any rank at the previous call (alone: this one), and send this one's.

        The message is under way while a step is computed, so that nobody waits for it.
        """
        if self._ranks.size == 1:
            return value
        seen = self.close()
        message = torch.tensor([value], dtype=torch.int32)
        self._told = dist.all_reduce(message, dist.ReduceOp.MAX, async_op=True), message
        return seen

    def close(self) -> int:
        """Return what `exchange` would, and send nothing."""
        if self._told is None:
            return 0
        work, message = self._told
        self._told = None
        work.wait()
        return int(message)
