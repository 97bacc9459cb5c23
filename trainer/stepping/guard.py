"""What keeps one bad batch from spoiling a run: an update whose loss is no number, or far above the mean, is left out.

All of it stays on the device: to ask whether a loss was good is to wait for it, so it is asked at the lines of the log.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from trainer.recipe import Run
from wit.errors import StageError

DECAY = 0.99  # of the running mean, a step: it looks back over about 1 / (1 - 0.99) = 100 steps
MEAN_STEPS = 100  # taken before the mean judges: the first losses fall too fast to foretell the next


@dataclass(frozen=True)
class GuardState:
    """What the guard remembers; all counts are of steps."""

    loss_sum: float = 0.0
    """Of the losses so far, each DECAY times less for every step since."""
    weight: float = 0.0
    """Of the same sum over ones; loss_sum / weight is the running mean."""
    num_taken: float = 0.0
    num_skipped: float = 0.0
    in_row: float = 0.0
    """Left out up to now without one taken in between."""


class Guard:
    """Says how high a loss may be, and stops training when too many updates in a row were left out."""

    def __init__(self, run: Run, state: GuardState, device: torch.device) -> None:
        self._rise, self._max_skipped = run.max_loss_rise, run.max_skipped_steps
        self._numbers = torch.tensor([*asdict(state).values(), state.in_row], dtype=torch.float32, device=device)

    def limit(self) -> Tensor:
        """Return the highest loss (0-d, on the device) of an update that is taken; one that is no number never is."""
        loss_sum, weight, num_taken, *_ = self._numbers
        if not self._rise:
            return torch.full_like(loss_sum, float("inf"))
        return torch.where(num_taken < MEAN_STEPS, float("inf"), loss_sum / weight + self._rise)

    def update(self, loss: Tensor, skipped: Tensor) -> None:
        """Take note of a step: its loss, and whether (0-d) its update was left out."""
        skipped = skipped.bool()
        loss_sum, weight, num_taken, num_skipped, in_row, most_in_row = self._numbers
        in_row = torch.where(skipped, in_row + 1, 0.0)
        self._numbers = torch.stack(
            [
                torch.where(skipped, loss_sum, DECAY * loss_sum + (1 - DECAY) * loss.float()),
                torch.where(skipped, weight, DECAY * weight + (1 - DECAY)),
                num_taken + ~skipped,
                num_skipped + skipped,
                in_row,
                torch.maximum(most_in_row, in_row),
            ]
        )

    def read(self) -> GuardState:
        """Return what the guard remembers; this waits for the device."""
        return GuardState(*self._numbers[:-1].tolist())

    def check(self, out: str, step: int) -> GuardState:
        """Return `read()`; raises StageError when since the last check too many updates in a row were left out."""
        most_in_row = int(self._numbers[-1])
        if most_in_row > self._max_skipped:
            raise StageError(
                f"{out}: step {step}: expected a finite loss that does not leap, found {most_in_row} updates in a row "
                "that had to be left out; the last checkpoint is kept; set a lower optimiser.learning_rate under "
                "another --out"
            )
        self._numbers[-1] = self._numbers[-2]
        return self.read()
