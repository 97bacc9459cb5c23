"""The paper's Figure 2 in small: zero-shot accuracy over images seen, for three objectives on the same shards.

    python -m benchmarks.objectives 'runs/tiny/shards/*.tar' data/sample/eval/heldout OUT
        [--seeds 3] [--model ViT-tiny/8] [--epochs 10] [--points 10] [--templates sample]
        [--learning-rate 1e-3] [--figure figure.svg]

Transformer captioning, bag-of-words prediction, and the contrastive objective with a bag of words as its text tower,
as in the figure; and the contrastive one with the Transformer. One recipe and one image tower for all: the paper says
nothing of its own, and a rate that is tuned for each may place them otherwise (--learning-rate tries another). Each
contender is trained by `wit train`'s loop once a seed, which is that of the weights, the order and the crops; its
checkpoints, ever further apart, are evaluated on a folder of class folders.

OUT/curves.jsonl has a line a checkpoint that was evaluated, the first contender's first, as
`benchmarks.objectives_figure` reads them: {"objective", "seed", "images_seen", "accuracy", "seconds" (of the whole
training)}; OUT/settings.json says by what. A run that is there is not made again, so that the same command goes on
after a kill. Prints Markdown: accuracy by images seen, then that module's table; it draws the figure, too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.machine import describe
from benchmarks.objectives_figure import Curves, draw_curves, read_curves, table, target_of
from trainer.evaluation.evaluating import evaluate_zero_shot
from trainer.evaluation.problems import Wording, read_words
from trainer.evaluation.sets import OpenSet, open_set
from trainer.interchange.reading import read_model
from trainer.loader.index import read_index
from trainer.recipe import Data, Model, Objective, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train
from wit.page import svg_file

BATCH_SIZE = 64
VOCABULARY_SIZE = 2_048
CURVES = "curves.jsonl"
SAVED = 30
"""Checkpoints of a run; those that are evaluated are among them."""


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
"""The first is what the paper compares with: its captions are 1, words 3, pairs 12."""


@dataclass(frozen=True)
class Settings:
    """What all runs of a figure have in common."""

    model: str
    epochs: int
    points: int
    templates: str
    learning_rate: float
    shards: str
    """Hash of their index."""
    num_pairs: int

    @property
    def save_every(self) -> int:
        """Steps between checkpoints."""
        return max(self.num_steps // SAVED, 1)

    @property
    def num_steps(self) -> int:
        """Updates of a run."""
        return self.epochs * (self.num_pairs // BATCH_SIZE)


@dataclass(frozen=True)
class Point:
    """What a checkpoint of a run is worth: a line of the file."""

    objective: str
    seed: int
    images_seen: int
    accuracy: float
    seconds: float
    """Of the run's whole training."""


def main() -> None:
    """Train and evaluate every contender by every seed, print tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="ViT-tiny/8")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--templates", default="sample")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    index = read_index(given.shards)
    settings = Settings(
        given.model, given.epochs, given.points, given.templates, given.learning_rate, index.hash, len(index)
    )
    opened = open_set(given.data)
    points = read_points(given.out, settings)
    for seed in range(given.seeds):  # a seed after the other: what there is after a while compares all contenders
        for contender in CONTENDERS:
            if not any((one.objective, one.seed) == (contender.name, seed) for one in points):
                points += run(contender, seed, settings, given.shards, opened, given.device)
                write_points(given.out, points)
    curves = read_curves(given.out / CURVES)
    print("\n".join(report(curves, points, settings)))
    if given.figure:
        chance = 1 / len(opened.listing.classes) if opened.listing.classes else None
        given.figure.write_text(svg_file(draw_curves(curves, target_of(curves), chance)), encoding="utf-8")


def read_points(out: Path, settings: Settings) -> list[Point]:
    """Return what there is already; a folder of other settings ends the program."""
    out.mkdir(parents=True, exist_ok=True)
    told = out / "settings.json"
    if not told.exists():
        told.write_text(json.dumps(asdict(settings)) + "\n")
    elif json.loads(told.read_text()) != asdict(settings):
        raise SystemExit(f"{told}: expected {json.dumps(asdict(settings))}, found others; name another folder")
    curves = out / CURVES
    return [Point(**json.loads(line)) for line in curves.read_text().splitlines()] if curves.exists() else []


def write_points(out: Path, points: Sequence[Point]) -> None:
    """Write all points; a kill leaves those of whole runs."""
    next_one = out / f"{CURVES}.next"
    next_one.write_text("".join(json.dumps(asdict(one)) + "\n" for one in points))
    next_one.replace(out / CURVES)


def run(contender: Contender, seed: int, settings: Settings, shards: str, opened: OpenSet, device: str) -> list[Point]:
    """Train a contender by a seed, and evaluate its checkpoints."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        stopped_by = train(make_recipe(contender, seed, settings), shards, out, device).stopped_by
        seconds = round(time.perf_counter() - started, 1)
        if stopped_by is not None:  # the loop's answer to a signal is an orderly end, and to go on is not
            raise SystemExit(128 + stopped_by)
        folders = {checkpoint.read_state(folder).step: folder for folder in checkpoint.complete_folders(out)}
        found = {
            step * BATCH_SIZE: measure(folders[step], opened, settings.templates)
            for step in chosen(sorted(folders), settings.points)
        }
    return [Point(contender.name, seed, seen, accuracy, seconds) for seen, accuracy in found.items()]


def make_recipe(contender: Contender, seed: int, settings: Settings) -> TrainRecipe:
    """Return a contender's recipe: alike but for the objective and the text tower."""
    return TrainRecipe(
        model=Model(settings.model, text=contender.text),
        tokenizer=Tokenizer(vocabulary_size=VOCABULARY_SIZE),
        objective=Objective(contender.objective),
        data=Data(batch_size=BATCH_SIZE, decode="draft", cache_mb=256),
        optimiser=Optimiser(settings.learning_rate, weight_decay=0.1, warmup_steps=50, max_gradient_norm=1.0),
        run=Run(epochs=settings.epochs, seed=seed, save_every_steps=settings.save_every, keep_checkpoints=1_000),
    )


def chosen(steps: Sequence[int], num_points: int) -> list[int]:
    """Return so many of the steps, evenly apart by their logarithm where there are enough, the last among them."""
    last = len(steps) - 1
    places = {round((last + 1) ** (point / max(num_points - 1, 1))) - 1 for point in range(num_points)}
    return [steps[place] for place in sorted(places | {last})]


def measure(folder: str, opened: OpenSet, templates: str) -> float:
    """Return the zero-shot accuracy of a checkpoint."""
    model, tokenizer = read_model(folder)[0], checkpoint.load_tokenizer(folder)
    return evaluate_zero_shot(model, tokenizer, opened, read_words(opened.name, Wording(templates=templates))).accuracy


def report(curves: Curves, points: Sequence[Point], settings: Settings) -> Iterator[str]:
    """Yield the lines of the tables."""
    yield describe("torch")
    yield ""
    yield f"{settings.num_pairs:,} pairs, {settings.model}, {settings.epochs} epochs, rate {settings.learning_rate:g}."
    yield ""
    columns = next(iter(next(iter(curves.values())).values()))[0]
    yield f"| zero-shot %, mean of seeds, images seen: | {' | '.join(f'{one:,.0f}' for one in columns)} | training, s |"
    yield "|---" + "|---:" * (len(columns) + 1) + "|"
    for name, seeds in curves.items():
        cells = [f"{100 * fmean(each):.1f}" for each in zip(*(accuracy for _, accuracy in seeds.values()), strict=True)]
        seconds = fmean(one.seconds for one in points if one.objective == name)
        yield f"| {name} | {' | '.join(cells)} | {seconds:.0f} |"
    for share in (1, 2 / 3):  # of what the baseline ends with: the second is met where all curves still rise
        yield ""
        yield from table(curves, share * target_of(curves))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
