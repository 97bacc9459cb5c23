"""The paper's Figure 2 in small: zero-shot accuracy over images seen, for three objectives on the same shards.

    python -m benchmarks.objectives 'runs/tiny/shards/*.tar' data/sample/eval/heldout OUT
        [--seeds 3] [--model ViT-tiny/8] [--epochs 10] [--points 10] [--templates sample]
        [--learning-rate 1e-3] [--figure figure.svg]

Transformer captioning, bag-of-words prediction, and the contrastive objective with a bag of words as its text tower,
as in the figure; and the contrastive one with the Transformer. One recipe and one image tower for all: the paper says
nothing of its own, and a rate that is tuned for each may place them otherwise (--learning-rate tries another). Each
contender is trained by `wit train`'s loop once a seed, which is that of the weights, the order and the crops; its
checkpoints, ever further apart, are evaluated on a folder of class folders.

OUT/curves.jsonl has a line a run: {"objective", "seed", "images_seen": [...], "accuracy": [...], "seconds" (of the
training alone), "settings"}. A run that is there is not made again, so that the same command goes on after a kill.
Prints Markdown: accuracy by images seen, and images to reach what the slowest reaches, with the spread over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.machine import describe
from trainer.evaluation.evaluating import zero_shot
from trainer.evaluation.features import Embedding, embed_set
from trainer.evaluation.problems import Wording, pose, read_words
from trainer.evaluation.scaling import compare_efficiency
from trainer.evaluation.sets import OpenSet, open_set
from trainer.interchange.reading import read_model
from trainer.loader.index import read_index
from trainer.recipe import Data, Model, Objective, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train

BATCH_SIZE = 64
VOCABULARY_SIZE = 2_048
SAVED = 30
"""Checkpoints of a run; those that are evaluated are among them."""
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
BASELINE = CONTENDERS[0].name
"""What the paper compares with: its captions are 1, words 3, pairs 12."""


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
class Curve:
    """A run: what its checkpoints are worth."""

    objective: str
    seed: int
    images_seen: tuple[int, ...]
    accuracy: tuple[float, ...]
    seconds: float


Runs = dict[tuple[str, int], Curve]


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
    given.out.mkdir(parents=True, exist_ok=True)
    curves = given.out / "curves.jsonl"
    runs = read_runs(curves, settings)
    for seed in range(given.seeds):  # a seed after the other: what there is after a while compares all contenders
        for contender in CONTENDERS:
            if (contender.name, seed) not in runs:
                runs[contender.name, seed] = made = run(contender, seed, settings, given.shards, opened, given.device)
                with curves.open("a") as file:
                    file.write(json.dumps(asdict(made) | {"settings": asdict(settings)}) + "\n")
    print("\n".join(report(list(runs.values()), settings)))
    if given.figure:
        draw(given.figure, list(runs.values()))


def read_runs(path: Path, settings: Settings) -> Runs:
    """Return the runs that are there already; those by other settings end the program."""
    runs: Runs = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        if row.pop("settings") != asdict(settings):
            raise SystemExit(f"{path}: expected runs by {settings}, found others; name another folder")
        made = Curve(**row | {name: tuple(row[name]) for name in ("images_seen", "accuracy")})
        runs[made.objective, made.seed] = made
    return runs


def run(contender: Contender, seed: int, settings: Settings, shards: str, opened: OpenSet, device: str) -> Curve:
    """Train a contender by a seed, and evaluate its checkpoints."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        stopped_by = train(make_recipe(contender, seed, settings), shards, out, device).stopped_by
        seconds = time.perf_counter() - started
        if stopped_by is not None:  # the loop's answer to a signal is an orderly end, and to go on is not
            raise SystemExit(128 + stopped_by)
        folders = {checkpoint.read_state(folder).step: folder for folder in checkpoint.complete_folders(out)}
        steps = chosen(sorted(folders), settings.points)
        accuracies = tuple(measure(folders[step], opened, settings.templates) for step in steps)
    return Curve(contender.name, seed, tuple(step * BATCH_SIZE for step in steps), accuracies, round(seconds, 1))


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
    model, tokenizer = read_model(folder)[0].eval(), checkpoint.load_tokenizer(folder)
    features = embed_set(model, opened, Embedding())
    problem = pose(features, read_words(opened.name, Wording(templates=templates)))
    return zero_shot(model, tokenizer, features, problem, {}).accuracy


def report(runs: Sequence[Curve], settings: Settings) -> Iterator[str]:
    """Yield the lines of the tables."""
    yield f"{describe('torch')}"
    yield ""
    yield f"{settings.num_pairs:,} pairs, {settings.model}, {settings.epochs} epochs, rate {settings.learning_rate:g}."
    yield ""
    yield from accuracies(runs)
    yield ""
    yield from efficiency(runs)


def accuracies(runs: Sequence[Curve]) -> Iterator[str]:
    """Yield a row an objective, a column a number of images seen: the mean over seeds, least to most."""
    seen = runs[0].images_seen
    yield f"| zero-shot accuracy %, mean of seeds (range) | {' | '.join(f'{one:,}' for one in seen)} | training, s |"
    yield "|---" + "|---:" * (len(seen) + 1) + "|"
    for name, own in by_objective(runs).items():
        columns = list(zip(*(one.accuracy for one in own), strict=True))
        cells = [f"{100 * statistics.mean(each):.1f} ({spread(100 * one for one in each)})" for each in columns]
        yield f"| {name} | {' | '.join(cells)} | {statistics.mean(one.seconds for one in own):.0f} |"


def efficiency(runs: Sequence[Curve]) -> Iterator[str]:
    """Yield a row an objective: images to reach what the baseline ends with by the same seed, and how many times fewer.

    Of the baseline that is the best that it reaches at any time: an end below it would flatter the others.
    """
    yield f"| images to reach the best of {BASELINE} | by seed | times fewer, median (range) |"
    yield "|---|---:|---:|"
    found: dict[str, list[tuple[float | None, float | None]]] = {}
    for seed in sorted({one.seed for one in runs}):
        curves = {one.objective: (one.images_seen, one.accuracy) for one in runs if one.seed == seed}
        for each in compare_efficiency(curves, BASELINE, max(curves[BASELINE][1])):
            found.setdefault(each.objective, []).append((each.examples, each.times))
    for name, rows in found.items():
        examples = ", ".join("not reached" if one is None else f"{one:,.0f}" for one, _ in rows)
        times = [one for _, one in rows if one is not None]
        told = f"{statistics.median(times):.1f} ({spread(times)}), {len(times)} of {len(rows)} seeds" if times else ""
        yield f"| {name} | {examples} | {told} |"


def by_objective(runs: Sequence[Curve]) -> Mapping[str, list[Curve]]:
    """Return each objective's runs, in the order of CONTENDERS."""
    found = {each.name: [one for one in runs if one.objective == each.name] for each in CONTENDERS}
    return {name: own for name, own in found.items() if own}


def spread(values: Iterable[float]) -> str:
    """Return the least and the most."""
    listed = list(values)
    return f"{min(listed):.1f} to {max(listed):.1f}"


def draw(path: Path, runs: Sequence[Curve]) -> None:
    """Draw accuracy over images seen as an SVG file: the mean over seeds, and all seeds between the edges of a band."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name, "font.size": 10}):
        figure = Figure(figsize=(7, 4.5), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        for colour, (name, own) in zip(_COLOURS, by_objective(runs).items(), strict=False):
            seen = own[0].images_seen
            columns = list(zip(*(one.accuracy for one in own), strict=True))
            axes.fill_between(seen, [*map(min, columns)], [*map(max, columns)], color=colour, alpha=0.15, linewidth=0)
            axes.plot(seen, [*map(statistics.mean, columns)], ".-", color=colour, label=name)
        axes.set(xlabel="images seen", ylabel="zero-shot accuracy", ylim=(0, None), xscale="log")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
