"""`wit evaluate`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from trainer.options import ACTIVATION, DEVICE, MERGES, choose_device

PATIENCE = timedelta(days=1)
"""What ranks wait for the first, which alone fits probes: on ImageNet's training images that takes hours."""


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
@click.option("--classes", default="", metavar="SOURCE", help="Class names: a file, or an installed package.")
@click.option("--by-order", is_flag=True, help="Take --classes in the set's order, whatever it calls its classes.")
@click.option(
    "--templates",
    default="",
    metavar="SOURCE",
    help="photo, sample, a file with a {label} prompt a line, or an installed package.  [default: those that come with "
    "--classes, else photo]",
)
@click.option(
    "--metric", default="", metavar="NAME", help="Instead of the paper's for its sets, and accuracy for others."
)
@click.option("--compare-prompts", is_flag=True, help="Report what each template and their ensemble are worth.")
@click.option("--probe", is_flag=True, help="Fit a linear probe on the images of --train.")
@click.option("--shots", default="", metavar="N,N,...", help="Fit probes on so many images a class: 1,2,4,8,16.")
@click.option("--skip-broken", is_flag=True, help="Leave images out that cannot be read, and count them.")
@click.option("--out", help="Folder for results/, predictions/, and features/, by which the same command goes on.")
@click.option("--cache", metavar="FOLDER", help="Where features are kept.  [default: features/ of --out]")
@MERGES
@ACTIVATION
@DEVICE
def evaluate(checkpoint: str, device: str, merges: str, activation: str, **options: Any) -> None:
    """Report a CHECKPOINT's accuracy beside chance: zero-shot, by a linear probe, by few examples.

    A checkpoint is its folder, a run (its newest), or a file of weights of CLIP; under torchrun, the ranks share the
    images.
    """
    from trainer.evaluation.asking import Asked
    from trainer.evaluation.running import run
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.parallel.ranks import find_ranks, joined, own_device
    from wit.storage import make_folder

    asked = Asked.of(options)
    if asked.out:
        make_folder(asked.out)
    name, model, vocabulary = open_model(checkpoint, merges, activation)
    tokenizer = open_tokenizer(name, model, vocabulary)
    ranks = find_ranks()
    chosen = own_device(choose_device(device), ranks)
    with joined(ranks, chosen, PATIENCE):
        run(name, model.to(chosen).eval(), tokenizer, asked, ranks)
