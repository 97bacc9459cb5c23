"""Progress of work that ranks share: the first tells it, for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from trainer.parallel.ranks import Ranks
from wit.progress import progress


def shared_progress(
    ranks: Ranks, label: str, total: int | None, unit: str
) -> AbstractContextManager[Callable[[int], None]]:
    """Return `wit.progress.progress` on the first rank, and what says nothing on the others."""
    return progress(label, total, unit) if ranks.is_first else nullcontext(lambda _: None)
