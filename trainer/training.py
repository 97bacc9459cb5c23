"""A call of `wit train`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.agreement import together
from trainer.folder import AUTO
from trainer.loader.index import read_index
from trainer.loop import Ended, run
from trainer.ranks import find_ranks, joined
from trainer.recipe import TrainRecipe
from trainer.session import Place, open_session


def train(recipe: TrainRecipe, shards: str | Sequence[str], out: str, device: str, resume: str = AUTO) -> Ended:
    """Train as a recipe says on the shards of `[WEIGHT=]PATTERN`s, or go on from a checkpoint under `out`.

    Under `torchrun` every rank calls it with the same arguments. `resume` is "auto", "never", or a checkpoint.
    Raises InputError for shards that cannot be read, MismatchError when `out` holds something else, OutputError when
    another process trains there, StageError when too many losses in a row are
    no numbers, or another rank is gone.
    """
    ranks = find_ranks()
    place = Place(out, own_device(device, ranks.local_rank), ranks)
    with together(ranks), joined(ranks, place.device):
        patterns = (shards,) if isinstance(shards, str) else shards
        index = read_index(*patterns, block_samples=recipe.data.block_samples)
        return run(open_session(recipe, index, place, resume))


def own_device(name: str, local_rank: int) -> torch.device:
    """Return this process's device: of several GPUs the one of its place on this machine, made the current one."""
    if name != "cuda":
        return torch.device(name)
    device = torch.device(name, local_rank)
    torch.cuda.set_device(device)
    return device
