"""The paper's Figure 2 in small: zero-shot accuracy over images seen, for three objectives on the same shards.

    python -m benchmarks.objectives 'runs/tiny/shards/*.tar' data/sample/eval/heldout
        [--model ViT-tiny/8] [--epochs 10] [--points 5] [--templates sample] [--figure figure.svg]

Transformer captioning, bag-of-words prediction, and the contrastive objective with a bag of words as its text tower,
as in the figure; and the contrastive one with the Transformer. One recipe and one image tower for all: the paper says
nothing of its own, and a rate that is tuned for each may place them otherwise. Each is trained by `wit train`'s loop;
its checkpoints, evenly apart, are evaluated on a folder of class folders. Prints a table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.evaluation.templates import read_templates
from trainer.evaluation.zero_shot import ImageFolder, evaluate_zero_shot, read_image_folder
from trainer.interchange.reading import read_model
from trainer.loader.index import read_index
from trainer.recipe import Data, Model, Objective, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train

BATCH_SIZE = 64
VOCABULARY_SIZE = 2_048
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's, that colour-blind people tell apart."""


@dataclass(frozen=True)
class Contender:
    """A line of the figure: an objective and a text tower."""

    name: str
    objective: str
    text: str = "transformer"


CONTENDERS = (
    Contender("Transformer language model", "captioning"),
    Contender("bag of words prediction", "bag_of_words"),
    Contender("bag of words contrastive", "contrastive", "bag_of_words"),
    Contender("Transformer contrastive", "contrastive"),
)


@dataclass(frozen=True)
class Point:
    """What a checkpoint is worth."""

    images_seen: int
    accuracy: float


def main() -> None:
    """Train and evaluate every contender, print a table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("data")
    parser.add_argument("--model", default="ViT-tiny/8")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--templates", default="sample")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    num_steps = options.epochs * (len(read_index(options.shards)) // BATCH_SIZE)
    data, templates = read_image_folder(options.data), read_templates(options.templates)
    curves = {}
    for contender in CONTENDERS:
        recipe = make_recipe(contender, options.model, options.epochs, -(-num_steps // options.points))
        with tempfile.TemporaryDirectory() as out:
            stopped_by = train(recipe, options.shards, out, options.device).stopped_by
            if stopped_by is not None:  # the loop's answer to a signal is an orderly end, and to go on is not
                raise SystemExit(128 + stopped_by)
            curves[contender.name] = list(measure(out, data, templates))
    print("\n".join(table(curves, 1 / len(data.classes))))
    if options.figure:
        draw(options.figure, curves)


def make_recipe(contender: Contender, model: str, epochs: int, save_every_steps: int) -> TrainRecipe:
    """Return a contender's recipe: alike but for the objective and the text tower."""
    return TrainRecipe(
        model=Model(model, text=contender.text),
        tokenizer=Tokenizer(vocabulary_size=VOCABULARY_SIZE),
        objective=Objective(contender.objective),
        data=Data(batch_size=BATCH_SIZE, decode="draft", cache_mb=256),
        optimiser=Optimiser(learning_rate=1e-3, weight_decay=0.1, warmup_steps=50, max_gradient_norm=1.0),
        run=Run(epochs=epochs, save_every_steps=save_every_steps, keep_checkpoints=1_000),
    )


def measure(out: str, data: ImageFolder, templates: tuple[str, ...]) -> Iterator[Point]:
    """Yield the zero-shot accuracy of each checkpoint of a run."""
    for folder in checkpoint.complete_folders(out):
        (model, _), tokenizer = read_model(folder), checkpoint.load_tokenizer(folder)
        accuracy = evaluate_zero_shot(model, tokenizer, data, templates).accuracy
        yield Point(checkpoint.read_state(folder).step * BATCH_SIZE, accuracy)


def table(curves: dict[str, list[Point]], chance: float) -> Iterator[str]:
    """Yield the lines of the table: a row an objective, a column a number of images seen."""
    seen = [point.images_seen for point in next(iter(curves.values()))]
    yield f"| objective, zero-shot accuracy (chance {chance:.1%}) | {' | '.join(f'{one:,} images' for one in seen)} |"
    yield "|---" * (len(seen) + 1) + "|"
    for name, points in curves.items():
        yield f"| {name} | {' | '.join(f'{point.accuracy:.1%}' for point in points)} |"


def draw(path: Path, curves: dict[str, list[Point]]) -> None:
    """Draw accuracy over images seen as an SVG file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name, "font.size": 10}):
        figure = Figure(figsize=(7, 4.5), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        for colour, (name, points) in zip(_COLOURS, curves.items(), strict=True):
            seen, accuracies = [one.images_seen for one in points], [one.accuracy for one in points]
            axes.plot(seen, accuracies, ".-", color=colour, label=name)
        axes.set(xlabel="images seen", ylabel="zero-shot accuracy", ylim=(0, None))
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
