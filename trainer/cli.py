"""`wit train`. Torch and the rest are imported when a command runs, not for --help."""

from __future__ import annotations

import signal

import click

from trainer.options import DEVICE, choose_device, recipe_path
from wit.errors import UserError


@click.command(epilog="Example: wit train tiny --shards 'runs/tiny/shards/*.tar' --out runs/tiny-clip")
@click.argument("recipe")
@click.option(
    "--shards",
    multiple=True,
    required=True,
    metavar="[WEIGHT=]PATTERN",
    help="Tars, indexes beside them: a folder, a path or URL, a brace or glob pattern; repeatable. WEIGHT: how often "
    "they are seen in an epoch.",
)
@click.option("--out", required=True, help="Folder of the run; the same command again goes on where it stopped.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a value of the recipe.")
@click.option(
    "--resume",
    default="auto",
    show_default=True,
    metavar="auto|never|PATH",
    help="auto: go on from the newest complete checkpoint under --out, if there is one; or from a checkpoint's folder.",
)
@DEVICE
def train(recipe: str, shards: tuple[str, ...], out: str, overrides: tuple[str, ...], resume: str, device: str) -> None:
    """Train CLIP on shards, as RECIPE (a TOML file, or the name of one in trainer/recipes) says.

    Under torchrun the processes train together; another number of them may go on with a run.
    """
    from trainer.parallel.ranks import find_ranks, leave
    from trainer.recipe import load_recipe
    from trainer.training import train as run_training
    from wit.storage import is_remote, local_path

    if is_remote(out) or not out:
        raise UserError(f"--out {out!r}: expected a local folder, found {'a URL' if out else 'no name'}")
    settings = load_recipe(recipe_path(recipe), overrides)
    result = run_training(settings, shards, local_path(out), choose_device(device), resume)
    stopped_by = None if result.step == result.num_steps else result.stopped_by
    if find_ranks().is_first:
        replaced = f"; {result.num_replaced} samples replaced, see log.jsonl" if result.num_replaced else ""
        click.echo(f"{result.checkpoint}: step {result.step} of {result.num_steps}{replaced}")
        if stopped_by is not None:
            name = signal.Signals(stopped_by).name
            click.echo(f"stopped by {name}; the same command goes on from here", err=True)
    status = 0 if stopped_by is None else 128 + stopped_by
    leave(find_ranks(), status)
    click.get_current_context().exit(status)
