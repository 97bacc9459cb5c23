"""`wit evaluate-robustness`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from typing import Any

import click

from trainer.evaluation.cli import PATIENCE
from trainer.options import ACTIVATION, DEVICE, MERGES, choose_device


@click.command(
    "evaluate-robustness",
    epilog="Example: wit evaluate-robustness clip.safetensors --imagenet imagenet/val --shift ImageNetV2=imagenetv2 "
    "--shift ImageNet-A=imagenet-a --classes prompts.md --standard robustness_top1s.csv --out runs/eval",
)
@click.argument("checkpoint")
@click.option("--imagenet", required=True, metavar="[FORMAT:]PATH", help="ImageNet's validation images.")
@click.option(
    "--shift",
    multiple=True,
    required=True,
    metavar="NAME=[FORMAT:]PATH",
    help="A set with classes of ImageNet; repeatable. The paper's: ImageNetV2, ImageNet-A, ImageNet-R, ObjectNet, "
    "ImageNet-Sketch, ImageNet-Vid, Youtube-BB.",
)
@click.option(
    "--map",
    multiple=True,
    metavar="NAME=FILE",
    help="Which classes of ImageNet a set's are: JSON {class: ImageNet's number, id, name, or a list}, or a CSV with "
    "class and imagenet. What is not in it is left out. ImageNet=FILE: what else its own classes are called.  "
    "[default: classes of the same id, number or name]",
)
@click.option(
    "--own-names",
    multiple=True,
    metavar="NAME=SOURCE",
    help="Names of a set's own classes, to adapt to its classes.  [default: what it calls them]",
)
@click.option(
    "--frames",
    multiple=True,
    metavar="NAME=PATH",
    help="Of videos: a CSV with item, video, frame, anchor and label, or ImageNet-Vid-Robust's folder of metadata.",
)
@click.option("--crop", multiple=True, metavar="NAME=PX", help="Cut off a border: ObjectNet=2.")
@click.option("--classes", default="", metavar="SOURCE", help="ImageNet's class names: a file, or a package.")
@click.option("--by-order", is_flag=True, help="Take --classes in the order of ImageNet's classes.")
@click.option("--templates", default="", metavar="SOURCE", help="photo, sample, a file with a {label} prompt a line, "
              "or a package.  [default: those that come with --classes, else photo]")  # fmt: skip
@click.option("--train", default="", metavar="[FORMAT:]PATH", help="ImageNet's training images, to adapt to it.")
@click.option(
    "--standard",
    default="",
    metavar="FILE.csv",
    help="Accuracies of models: model, ImageNet, a column a shift, and type, of which standard, trained on ImageNet "
    "alone, are fitted; imagenet-testbed's robustness_top1s.csv is one. Effective robustness needs it.",
)
@click.option("--skip-broken", is_flag=True, help="Leave images out that cannot be read, and count them.")
@click.option("--out", required=True, help="Folder for results/, and features/, by which the same command goes on.")
@click.option("--cache", metavar="FOLDER", help="Where features are kept.  [default: features/ of --out]")
@MERGES
@ACTIVATION
@DEVICE
def evaluate_robustness(checkpoint: str, device: str, merges: str, activation: str, **options: Any) -> None:
    """Measure a CHECKPOINT's robustness to natural distribution shift: ImageNet beside the sets of the paper.

    Zero-shot by one classifier for all sets, by the names of each set's own classes, and by a classifier that is
    adapted to ImageNet (--train).
    """
    from trainer.evaluation.shifts.asking import Asked
    from trainer.evaluation.shifts.running import run
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.parallel.ranks import find_ranks, joined, own_device
    from wit.storage import make_folder

    asked = Asked.of(options)
    make_folder(asked.out)
    name, model, vocabulary = open_model(checkpoint, merges, activation)
    tokenizer = open_tokenizer(name, model, vocabulary)
    ranks = find_ranks()
    chosen = own_device(choose_device(device), ranks)
    with joined(ranks, chosen, PATIENCE):
        run(name, model.to(chosen).eval(), tokenizer, asked, ranks)
