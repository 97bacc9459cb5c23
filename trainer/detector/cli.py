"""`wit overlap train-detector`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

import signal

import click

from trainer.options import DEVICE, choose_device, recipe_path
from wit.errors import UserError


@click.command("train-detector", epilog="Example: wit overlap train-detector small --images photos --out runs/detector")
@click.argument("recipe")
@click.option(
    "--images", multiple=True, required=True, help="A folder of images, or shards (as wit train has them); repeatable."
)
@click.option("--out", required=True, help="Folder of the run; the same command again goes on where it stopped.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a value of the recipe.")
@DEVICE
@click.pass_context
def train_detector(
    ctx: click.Context, recipe: str, images: tuple[str, ...], out: str, overrides: tuple[str, ...], device: str
) -> None:
    """Train a detector of near-duplicates, as RECIPE (small, resnet50, or a TOML file) says.

    It learns to tell which picture a synthetic edit was made from, as the CLIP paper's does, and is written to
    OUT/detector.onnx for wit overlap --descriptor.
    """
    from trainer.detector.recipe import load_detector_recipe
    from trainer.detector.training import train_detector as run_training
    from wit.storage import is_remote, local_path

    if is_remote(out) or not out:
        raise UserError(f"--out {out!r}: expected a local folder, found {'a URL' if out else 'no name'}")
    settings = load_detector_recipe(recipe_path(recipe, "trainer.detector"), overrides)
    result = run_training(settings, images, local_path(out), choose_device(device))
    replaced = f"; {result.num_replaced} pictures replaced, see log.jsonl" if result.num_replaced else ""
    click.echo(f"{out}: step {result.step} of {result.num_steps}{replaced}")
    if result.stopped_by is not None and result.detector is None:
        click.echo(f"stopped by {signal.Signals(result.stopped_by).name}; the same command goes on from here", err=True)
        ctx.exit(128 + result.stopped_by)
    if measured := result.measured:
        click.echo(
            f"proxy accuracy {measured.accuracy:.1%}: the nearest of {measured.num_pictures:,} held-out pictures to an "
            f"edited copy is its own; {measured.recall:.1%} of the copies have a cosine of at least "
            f"{measured.threshold:.2f}, the proposed threshold"
        )
    click.echo(f"{result.detector}: use it with wit overlap --descriptor")
