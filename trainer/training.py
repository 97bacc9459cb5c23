"""A call of `wit train`."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.loader.streaming import open_index
from trainer.parallel.agreement import from_first, together
from trainer.parallel.ranks import find_ranks, joined, own_device
from trainer.recipe import TrainRecipe
from trainer.running.folder import AUTO, SHARD_CACHE, require_ours
from trainer.running.loop import Ended, run
from trainer.session import Place, open_session
from wit.errors import RecipeError
from wit.storage import is_remote, join


def train(recipe: TrainRecipe, shards: str | Sequence[str], out: str, device: str, resume: str = AUTO) -> Ended:
    """Train as a recipe says on the shards of `[WEIGHT=]PATTERN`s, or go on from a checkpoint under `out`.

    Under `torchrun` every rank calls it with the same arguments. `resume` is "auto", "never", or a checkpoint.
    Raises InputError for shards that cannot be read, MismatchError when `out` holds something else, OutputError when
    another process trains there, StageError when too many losses in a row are no numbers, or another rank is gone.
    """
    if is_remote(recipe.data.shard_cache):
        raise RecipeError(f"data.shard_cache: expected a local folder, found {recipe.data.shard_cache}")
    ranks = find_ranks()
    place = Place(out, own_device(device, ranks), ranks)
    with together(ranks), joined(ranks, place.device):
        from_first(ranks, lambda: require_ours(out))  # before anything is fetched into it
        kept = recipe.data.shard_cache or join(out, SHARD_CACHE)
        index = open_index((shards,) if isinstance(shards, str) else shards, recipe.data, kept)
        return run(open_session(recipe, index, place, resume))
