"""`wit evaluate`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from typing import Any

import click

from trainer.evaluation.options import SKIP_BROKEN, WITH_CLASSES, evaluated, kept, wording
from trainer.options import ACTIVATION, DEVICE, MERGES


@click.command(epilog="Example: wit evaluate runs/tiny-clip --data data/sample/eval/heldout --templates sample")
@click.argument("checkpoint")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="[NAME=][FORMAT:]PATH",
    help="A set of images: folders by class, tars, Parquet, or the files of CIFAR, MNIST, STL-10, VOC, GTSRB, UCF101; "
    "repeatable. With --suite, a folder of sets.",
)
@click.option(
    "--suite", metavar="NAME", help="Evaluate what --data has of paper (27 sets), kornblith (12), or one task."
)
@click.option(
    "--train",
    multiple=True,
    metavar="[NAME=][FORMAT:]PATH",
    help="Images to fit probes on, of the set of that name.  [default: the training part of the set's folder]",
)
@click.option("--validation", multiple=True, metavar="[NAME=][FORMAT:]PATH", help="Images to choose strengths by.")
@wording("Class names", "the set's order", WITH_CLASSES)
@click.option(
    "--metric", default="", metavar="NAME", help="Instead of the paper's for its sets, and accuracy for others."
)
@click.option("--compare-prompts", is_flag=True, help="Report what each template and their ensemble are worth.")
@click.option("--probe", is_flag=True, help="Fit a linear probe on the images of --train.")
@click.option("--shots", default="", metavar="N,N,...", help="Fit probes on so many images a class: 1,2,4,8,16.")
@SKIP_BROKEN
@kept("features", "predictions/, ")
@MERGES
@ACTIVATION
@DEVICE
def evaluate(checkpoint: str, **options: Any) -> None:
    """Report a CHECKPOINT's accuracy beside chance: zero-shot, by a linear probe, by few examples.

    A checkpoint is its folder, a run (its newest), or a file of weights of CLIP; under torchrun, the ranks share the
    images.
    """
    from trainer.evaluation.asking import Asked
    from trainer.evaluation.running import run

    asked = Asked.of(options)
    with evaluated(checkpoint, options) as one:
        run(one.name, one.model, one.tokenizer, asked, one.ranks)
