"""Loss curves of our trainer and of open_clip from the same weights, on the same batches, with the same recipe.

    python -m benchmarks.learning_parity 'runs/tiny/shards/*.tar' --peers PEERS_PYTHON
        [--model ViT-tiny/8] [--batch 64] [--steps 200] [--seeds 3] [--figure curves.svg]

Our loader makes the batches once, in the order of its seed; both sides take them from a file, fp32 on the CPU.
PEERS_PYTHON has open_clip, see `learning_parity_peers`: its model, loss, AdamW, schedule and loop. Two more kinds of
runs of ours say what a difference means: `rounding` begins with weights moved by one part in 10^7 at random, the least
that fp32 can tell apart; `seeds` begin with other initial weights on the same batches. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.interchange.writing import open_clip_config
from trainer.loader.index import read_captions, read_index
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.models.clip import build_clip
from trainer.models.config import ClipConfig, model_config
from trainer.models.inputs import IMAGE_MEAN, IMAGE_STD
from trainer.optim.adamw import build_optimiser
from trainer.optim.schedule import learning_rate, set_learning_rate
from trainer.parallel.ranks import ALONE
from trainer.recipe import Optimiser, TrainRecipe
from trainer.stepping.gradients import LossScaler
from trainer.stepping.step import build_stepper, train_step
from trainer.tokenizer import ClipTokenizer, train_merges

PEERS_SCRIPT = Path(__file__).with_name("learning_parity_peers.py")
VOCABULARY_SIZE = 2_048
OPTIMISER = Optimiser(learning_rate=1e-3, weight_decay=0.1, warmup_steps=20)
WINDOWS = ((0, 1), (1, 10), (10, 50), (50, 100), (100, 200), (200, 10_000))
"""Steps whose differences stand in one row of the table."""
_COLOURS = {"ours": "#0072b2", "open_clip": "#d55e00", "rounding": "#009e73", "seed": "#bbbbbb"}
"""Okabe and Ito's, that colour-blind people tell apart."""

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Batches:
    """The data of every run: images uint8 (steps, B, 3, S, S), token ids (steps, B, L)."""

    images: NDArray[np.uint8]
    tokens: NDArray[np.int64]


def main() -> None:
    """Make the batches, train everyone on them, print a table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("--peers", default="")
    parser.add_argument("--model", default="ViT-tiny/8")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)  # on both sides: a sum in other pieces is rounded otherwise
    config, batches = make_batches(options.shards, options.model, options.batch, options.steps)
    weights = initial_weights(config, seed=0)
    curves = {"ours": train(config, weights, batches)}
    if options.peers:
        curves["open_clip"] = train_peer(config, weights, batches, options.peers)
    curves["rounding"] = train(config, moved(weights), batches)
    for seed in range(1, options.seeds + 1):
        curves[f"seed {seed}"] = train(config, initial_weights(config, seed), batches)
    print("\n".join(table(curves)))
    if options.figure:
        draw(options.figure, curves)


def make_batches(shards: str, model: str, batch_size: int, num_steps: int) -> tuple[ClipConfig, Batches]:
    """Return a model's shapes, with the vocabulary of the shards' captions, and the first batches of a training."""
    index = read_index(shards)
    tokenizer = ClipTokenizer(train_merges(read_captions(index), VOCABULARY_SIZE))
    config = model_config(model, tokenizer.vocabulary_size)

    def tokenize(captions: Sequence[str]) -> NDArray[np.int64]:
        return tokenizer(captions, config.text.context_length)

    side_px = config.vision.image_px
    loader_options = LoaderOptions(
        image_px=side_px, resize_px=side_px, decode="exact", num_threads=1, prefetch_batches=2, cache_bytes=64 << 20
    )
    state = LoaderState(0, 0, seed=0, batch_size=batch_size, index_hash=index.hash)
    made = list(islice(Loader(index, tokenize, state, loader_options), num_steps))
    return config, Batches(np.stack([one.images for one in made]), np.stack([one.tokens for one in made]))


def initial_weights(config: ClipConfig, seed: int) -> dict[str, Tensor]:
    """Return a new model's weights."""
    return build_clip(config, seed).state_dict()


def moved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights, each times 1 + 1e-7 or 1 - 1e-7 at random."""
    generator = torch.Generator().manual_seed(0)
    signs = {name: torch.randint(0, 2, value.shape, generator=generator) * 2 - 1 for name, value in weights.items()}
    return {name: (value.double() * (1 + 1e-7 * signs[name])).to(value.dtype) for name, value in weights.items()}


def train(config: ClipConfig, weights: dict[str, Tensor], batches: Batches) -> Losses:
    """Return the loss of each step of our trainer."""
    model = build_clip(config, seed=0)
    model.load_state_dict(weights)
    recipe = TrainRecipe(optimiser=OPTIMISER)
    optimiser = build_optimiser(model, recipe.optimiser)
    stepper = build_stepper(model, optimiser, LossScaler("fp32", torch.device("cpu")), recipe, ALONE)
    num_steps = len(batches.images)
    losses = []
    for step, (images, tokens) in enumerate(zip(batches.images, batches.tokens, strict=True)):
        set_learning_rate(optimiser, learning_rate(step, num_steps, OPTIMISER))
        losses.append(float(train_step(stepper, torch.from_numpy(images), tokens, step).loss))
    return np.array(losses)


def train_peer(config: ClipConfig, weights: dict[str, Tensor], batches: Batches, peers: str) -> Losses:
    """Return the loss of each step of open_clip, run by another Python."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.savez(folder / "batches.npz", **asdict(batches))
        safetensors.torch.save_file(weights, folder / "weights.safetensors")
        (folder / "settings.json").write_text(json.dumps(peer_settings(config)))
        command = [peers, str(PEERS_SCRIPT), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout.splitlines()[-1])
    print("; ".join(f"{name} {version}" for name, version in facts["versions"].items()), end="\n\n")
    return np.array(facts["losses"])


def peer_settings(config: ClipConfig) -> dict[str, Any]:
    """Return what open_clip needs to build the same model and to follow the same recipe."""
    return {
        "open_clip": open_clip_config(config)["model_cfg"],
        "mean": IMAGE_MEAN, "std": IMAGE_STD, "threads": 1, "lr": OPTIMISER.learning_rate,
        "betas": (OPTIMISER.beta1, OPTIMISER.beta2), "eps": OPTIMISER.epsilon,
        "weight_decay": OPTIMISER.weight_decay, "warmup_steps": OPTIMISER.warmup_steps,
    }  # fmt: skip


def table(curves: dict[str, Losses]) -> Iterator[str]:
    """Yield the lines of the table: the mean loss of ours, and how far others are from it at most, by windows."""
    ours = curves["ours"]
    seeds = [losses for name, losses in curves.items() if name.startswith("seed")]
    yield "| steps | loss, ours | open_clip, at most | rounding, at most | another seed, mean |"
    yield "|---|---|---|---|---|"
    for start, stop in WINDOWS:
        steps = slice(start, min(stop, len(ours)))
        if start >= len(ours):
            return
        cells = [f"{start + 1} to {steps.stop}", f"{ours[steps].mean():.4f}"]
        for name in ("open_clip", "rounding"):
            cells.append(f"{np.abs(curves[name] - ours)[steps].max():.1e}" if name in curves else "not run")
        cells.append(f"{np.mean([np.abs(seed - ours)[steps] for seed in seeds]):.1e}" if seeds else "not run")
        yield f"| {' | '.join(cells)} |"


def draw(path: Path, curves: dict[str, Losses]) -> None:
    """Draw the losses above and the distances from ours below, step by step, as an SVG file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name, "font.size": 10}):
        figure = Figure(figsize=(10, 4.5), dpi=72, layout="constrained")
        losses, distances = figure.subplots(1, 2)
        for name, curve in sorted(curves.items(), key=lambda item: not item[0].startswith("seed")):
            style = {"color": _COLOURS[name.split()[0]], "label": name, "linewidth": 1.2}
            losses.plot(curve, "--" if name == "open_clip" else "-", **style)
            if name != "ours":
                distances.plot(np.abs(curve - curves["ours"]).clip(1e-8), **style)
        losses.set(xlabel="step", ylabel="loss, nats")
        distances.set(xlabel="step", ylabel="distance from ours, nats", yscale="log")
        losses.legend(frameon=False)
        for axes in figure.axes:
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


if __name__ == "__main__":
    main()
