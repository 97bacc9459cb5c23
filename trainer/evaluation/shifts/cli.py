"""`wit evaluate-robustness`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from typing import Any

import click

from trainer.evaluation.options import SKIP_BROKEN, WITH_CLASSES, evaluated, kept, wording
from trainer.options import ACTIVATION, DEVICE, MERGES


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
@wording("ImageNet's class names", "ImageNet's order", WITH_CLASSES)
@click.option("--train", default="", metavar="[FORMAT:]PATH", help="ImageNet's training images, to adapt to it.")
@click.option(
    "--standard",
    default="",
    metavar="FILE.csv",
    help="Accuracies of models: model, ImageNet, a column a shift, and type, of which standard, trained on ImageNet "
    "alone, are fitted; imagenet-testbed's robustness_top1s.csv is one. Effective robustness needs it.",
)
@SKIP_BROKEN
@kept("features", required=True)
@MERGES
@ACTIVATION
@DEVICE
def evaluate_robustness(checkpoint: str, **options: Any) -> None:
    """Measure a CHECKPOINT's robustness to natural distribution shift: ImageNet beside the sets of the paper.

    Zero-shot by one classifier for all sets, by the names of each set's own classes, and by a classifier that is
    adapted to ImageNet (--train).
    """
    from trainer.evaluation.shifts.asking import Asked
    from trainer.evaluation.shifts.running import run

    asked = Asked.of(options)
    with evaluated(checkpoint, options) as one:
        run(one.name, one.model, one.tokenizer, asked, one.ranks)
