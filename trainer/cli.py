"""`wit train` and `wit evaluate`. Torch and the rest are imported when a command runs, not for --help."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from trainer.options import ACTIVATION, DEVICE, MERGES, choose_device, recipe_path
from wit.errors import UserError

if TYPE_CHECKING:
    from trainer.evaluation.zero_shot import ZeroShotResult


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


@click.command(epilog="Example: wit evaluate runs/tiny-clip --data data/sample/eval/heldout --templates sample")
@click.argument("checkpoint")
@click.option("--data", required=True, help="A folder with a folder of images for each class, named as the class.")
@click.option(
    "--templates", default="photo", show_default=True, help="photo, sample, or a file, a {label} prompt a line."
)
@click.option("--out", help="Folder for predictions.parquet and result.json.")
@MERGES
@ACTIVATION
@DEVICE
def evaluate(checkpoint: str, data: str, templates: str, out: str | None, device: str, **opening: str) -> None:
    """Report a CHECKPOINT's zero-shot accuracy beside chance.

    A checkpoint is its folder, a run (its newest), or a file of weights of CLIP; under torchrun, the ranks share the
    images.
    """
    from trainer.evaluation.templates import read_templates
    from trainer.evaluation.zero_shot import evaluate_zero_shot, read_image_folder
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.parallel.ranks import find_ranks, joined, own_device
    from wit.progress import progress
    from wit.storage import make_folder

    images, prompts = read_image_folder(data), read_templates(templates)
    if out:
        make_folder(out)
    name, model, vocabulary = open_model(checkpoint, **opening)
    tokenizer = open_tokenizer(name, model, vocabulary)
    ranks = find_ranks()
    chosen = own_device(choose_device(device), ranks)
    num_images = len(images.paths) // ranks.size
    bar = progress("evaluate", num_images, "images") if ranks.is_first else nullcontext(lambda _: None)
    with joined(ranks, chosen), bar as advance:
        result = evaluate_zero_shot(model.to(chosen), tokenizer, images, prompts, ranks, advance)
    if not ranks.is_first:
        return
    _print_result(result)
    if out:
        _write_result(out, result)


def _print_result(result: ZeroShotResult) -> None:
    low, high = result.interval
    counts, correct, mistaken = result.count_by_class(), result.correct_by_class(), result.mistaken_by_class()
    width = max(map(len, result.classes))
    for name in result.classes:
        line = f"  {name:<{width}}  {correct[name]:>5}/{counts[name]:<5} {correct[name] / counts[name]:7.1%}"
        other, times = mistaken.get(name, ("", 0))
        click.echo(f"{line}  taken for {other}: {times}" if times else line)
    click.echo(f"top-5 accuracy {result.top5_accuracy:.1%}")
    click.echo(
        f"zero-shot accuracy {result.accuracy:.1%} ({result.num_correct}/{result.num_images}; 95 % interval "
        f"{low:.1%} to {high:.1%}); chance {result.chance:.1%} ({len(result.classes)} classes): "
        f"{result.accuracy / result.chance:.1f}x chance"
    )


def _write_result(out: str, result: ZeroShotResult) -> None:
    from wit import manifest
    from wit.storage import join, write_parquet

    low, high = result.interval
    write_parquet(join(out, "predictions.parquet"), result.predictions)
    facts = {
        "accuracy": result.accuracy,
        "top5_accuracy": result.top5_accuracy,
        "interval": {"low": low, "high": high, "confidence": 0.95},
        "chance": result.chance,
        "num_images": result.num_images,
        "num_classes": len(result.classes),
        "correct_by_class": result.correct_by_class(),
        "images_by_class": result.count_by_class(),
    }
    manifest.write(join(out, "result.json"), facts)
