"""The folder of a training run: whose it is, and from where the run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.saving import checkpoint
from wit import manifest
from wit.errors import MismatchError
from wit.locking import LOCK
from wit.recipe import dumps
from wit.storage import exists, join, list_names, publish_text, remove_temporaries

RUN = "run.json"
"""What the run is made from; whose folder it is."""
SHARD_CACHE = "shards"
"""Folder in that of a run for parts of remote shards; it may be there before the run is."""
AUTO, NEVER = "auto", "never"
"""What `--resume` may say besides a checkpoint: the newest one if there is any; none."""


def require_ours(out: str) -> None:
    """Raise MismatchError when a folder holds something else than a training run."""
    if not exists(join(out, RUN)) and any(name not in (LOCK, SHARD_CACHE) for name in list_names(out)):
        raise MismatchError(f"{out}: expected a new folder or a training run, found other files; choose another --out")


def check_folder(out: str, facts: Mapping[str, object], resume: str = AUTO) -> str | None:
    """Return the checkpoint to go on from, if any; `facts` are what the run is made from.

    Raises MismatchError when `out` was made from something else, holds something else, or holds checkpoints that
    `resume` leaves behind; InputError when `resume` names no checkpoint.
    """
    require_ours(out)
    run = join(out, RUN)
    if exists(run):
        remedy = "train with what it was made from, or choose another --out"
        manifest.require_same(out, manifest.read(run), dict(facts), remedy)
    if resume == AUTO:
        return checkpoint.newest(out)
    chosen = None if resume == NEVER else checkpoint.find(resume)
    _require_newest(out, chosen)
    return chosen


def _require_newest(out: str, chosen: str | None) -> None:
    """Raise MismatchError when there are later checkpoints than a chosen one: the next run would go on from those."""
    step = -1 if chosen is None else checkpoint.read_state(chosen).step
    later = [folder for folder in checkpoint.complete_folders(out) if checkpoint.step_of(folder) > step]
    if later:
        raise MismatchError(
            f"{out}: expected no checkpoint later than the one to go on from, found {later[-1]}; move it away, or "
            "choose another --out"
        )


def claim_folder(out: str, recipe: object, facts: Mapping[str, object]) -> None:
    """Write what a run is made from into its folder, and remove what dead writers left; the folder must be locked."""
    remove_temporaries(out)
    manifest.write(join(out, RUN), dict(facts))  # first: without it what follows would be a foreign folder's files
    publish_text(join(out, "recipe.toml"), dumps(recipe))
