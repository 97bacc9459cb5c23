"""The folder of a training run: whose it is, and from where the run goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer import checkpoint
from wit import manifest
from wit.errors import MismatchError, StageError
from wit.locking import LOCK
from wit.recipe import dumps
from wit.storage import exists, join, list_names, publish_text, remove_temporaries


def check_folder(out: str, facts: Mapping[str, object]) -> str | None:
    """Return the checkpoint to go on from, if any; `facts` are what the run is made from.

    Raises MismatchError when `out` was made from something else, or holds something else.
    """
    run = join(out, "run.json")
    if exists(run):
        remedy = "train with what it was made from, or choose another --out"
        manifest.require_same(out, manifest.read(run), dict(facts), remedy)
        return checkpoint.newest(out)
    if any(name != LOCK for name in list_names(out)):
        raise MismatchError(f"{out}: expected a new folder or a training run, found other files; choose another --out")
    return None


def claim_folder(out: str, recipe: object, facts: Mapping[str, object]) -> None:
    """Write what a run is made from into its folder, and remove what dead writers left; the folder must be locked."""
    remove_temporaries(out)
    publish_text(join(out, "recipe.toml"), dumps(recipe))
    manifest.write(join(out, "run.json"), dict(facts))


def require_finite(out: str, step: int, loss: float) -> None:
    """Raise StageError when a loss is no longer a number."""
    if not math.isfinite(loss):
        raise StageError(
            f"{out}: step {step}: expected a finite loss, found {loss}; the last checkpoint is kept; set a lower "
            "optimiser.learning_rate under another --out"
        )
