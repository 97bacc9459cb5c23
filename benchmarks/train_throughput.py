"""Training steps of our trainer and of open_clip side by side on one device: images a second, MFU, memory, waiting.

    python -m benchmarks.train_throughput --peers PEERS_PYTHON [--device cuda] [--models ViT-B/32 ...]
        [--batch N ...] [--steps 30] [--real] [--num-shards 32] [--threads 16] [--folder FOLDER]
        [--ours WORDS ...] [--theirs WORDS ...]
    python -m benchmarks.train_throughput --peers PEERS_PYTHON --device cpu --models ViT-B/32 --batch 8 --steps 3

Each line is measured in a process of its own. Of the batch sizes, the largest that fits is taken: one that does not is
said. Synthetic batches are on the device before the clock starts, ours as uint8 and without their padding, open_clip's
as floats; with --real both sides read the same shards too, which the script makes: JPEGs of 640 x 512 px.

images/s is the median of five windows, with the least and the most. Leaving out padding does not change the result,
so that an image is an image on both sides; where patches are left out, dense-equivalent images/s counts an image for
the share of its work that is left. MFU counts what a side really computes (ours: no padding, the last block for one
token) over the device's peak. PEERS_PYTHON has torch and open_clip; see `train_throughput_peers` for the WORDS of
theirs. Those of ours: `packed` or `padded` captions, `compile`, `checkpoint`, `half_dropout` (of the patches), and
`exact`, `draft` or `fast` decoding. open_clip's loader keeps 80 % to 100 % of a picture, at other shapes; ours crops.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from benchmarks.noise_shards import write_noise_shards
from benchmarks.throughput_timing import NUM_BATCHES, Case, captions, report_one, time_steps
from trainer.loader.index import read_index
from trainer.models.build import build_model, set_patch_dropout
from trainer.models.config import CONFIGS
from trainer.models.flops import dense_flops, training_flops
from trainer.models.inputs import trim_tokens
from trainer.optim.adamw import build_optimiser
from trainer.parallel.ranks import Ranks
from trainer.parallel.wrapping import prepare
from trainer.recipe import Data, Model, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.running.peaks import peak_flops
from trainer.session import Place, open_session
from trainer.stepping.gradients import LossScaler
from trainer.stepping.step import build_stepper, train_step

BATCHES = {"ViT-B/32": (4096, 2048, 1024), "ViT-B/16": (2048, 1024, 512), "ViT-L/14": (512, 256, 128)}
"""Batch sizes to try on a GPU of 80 to 140 GB, the largest first."""
OURS = {"cuda": ("packed+compile", "padded+compile"), "cpu": ("packed",)}
THEIRS = {"cuda": ("compile_model+fused", "compile_step+fused"), "cpu": ("fused",)}
HALF = 0.5
DECODE = ("exact", "draft", "fast")
SAMPLES_A_SHARD = 256
TIMEOUT_S = 900
HEADER = (
    "| model | data | side | switches | batch | images/s (least to most) | dense-equivalent images/s "
    "| tokens a caption | TFLOP/s | MFU | peak memory, GB | waiting |\n" + "|---" * 12 + "|"
)
PEERS_MODULE = "benchmarks.train_throughput_peers"


@dataclass(frozen=True)
class Line:
    """A case and what was found."""

    case: Case
    found: dict[str, Any]

    def cells(self) -> str:
        """Return a row of the table."""
        case, found = self.case, self.found
        data = "shards" if case.shards else "synthetic"
        start = f"| {case.model} | {data} | {case.side} | {case.variant} | {case.batch:,} |"
        if "failed" in found:
            return f"{start} {found['failed']} | | | | | | |"
        flops = self.flops
        rate, peak = found["images_per_s"], peak_flops(found["device"], case.precision)
        mfu = "unknown peak" if peak is None else f"{rate * flops / peak:.1%}"
        share = HALF if "half_dropout" in case.switches else 0.0
        config = CONFIGS[case.model]
        length = config.text.context_length
        left = training_flops(config, length, share) / training_flops(config, length)
        return (
            f"{start} {rate:,.1f} ({found['least']:,.1f} to {found['most']:,.1f}) | {rate * left:,.1f} "
            f"| {found['num_tokens']:.1f} | {rate * flops / 1e12:,.3g} | {mfu} | {found['peak_bytes'] / 1e9:.1f} "
            f"| {found['wait_share']:.0%} |"
        )

    @property
    def flops(self) -> float:
        """Operations that the side computes for a sample; open_clip computes every block and the padding."""
        config = CONFIGS[self.case.model]
        if self.case.side == "open_clip":
            return dense_flops(config)
        dropout = HALF if "half_dropout" in self.case.switches else 0.0
        return training_flops(config, self.found["num_tokens"], dropout)


def main() -> None:
    """Measure every case, each line printed when it is there, and the ratios at the end."""
    options = parse()
    if options.one:
        report_one(measure)
        return
    precision = options.precision or ("bf16" if options.device == "cuda" else "fp32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch)
        sources = ["", write_noise_shards(folder, options.num_shards, SAMPLES_A_SHARD)] if options.real else [""]
        first = Case("", "", "", 0, options.device, precision, options.steps, options.warmup, "", options.threads)
        print(HEADER, flush=True)
        lines = [line for case in cases(options, first, sources) for line in largest_that_fits(case, options)]
    print("\n".join(ratios(lines)))


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="Python with open_clip; empty: ours alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--models", nargs="+", default=list(BATCHES), choices=CONFIGS)
    parser.add_argument("--batch", nargs="+", type=int, help="sizes to try, the largest first")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--precision", choices=("bf16", "fp32"))
    parser.add_argument("--real", action="store_true", help="shards as well as synthetic batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--num-shards", type=int, default=32, help=f"of {SAMPLES_A_SHARD} samples each, to make")
    parser.add_argument("--folder", help="where the shards lie, or are made")
    parser.add_argument("--merges", default="", help="vocabulary of ours on shards; empty: of their captions")
    parser.add_argument("--ours", nargs="*", help="words of each variant, joined by +")
    parser.add_argument("--theirs", nargs="*")
    parser.add_argument("--one", help="one case alone, as JSON; used by the script itself")
    return parser.parse_args()


def cases(options: argparse.Namespace, first: Case, sources: Sequence[str]) -> Iterator[Case]:
    """Yield what to measure, without a batch size."""
    sides = {"ours": options.ours if options.ours is not None else OURS[options.device]}
    if options.peers:
        sides["open_clip"] = options.theirs if options.theirs is not None else THEIRS[options.device]
    for model in options.models:
        for shards in sources:
            for side, variants in sides.items():
                for variant in variants:
                    yield replace(first, side=side, model=model, variant=variant, shards=shards, merges=options.merges)


def largest_that_fits(case: Case, options: argparse.Namespace) -> Iterator[Line]:
    """Yield a line for each batch size that does not fit, and for the first that does."""
    for batch in sorted(options.batch or BATCHES[case.model], reverse=True):
        line = Line(replace(case, batch=batch), run_one(replace(case, batch=batch), options.peers))
        print(line.cells(), flush=True)
        yield line
        if "failed" not in line.found:
            return


def run_one(case: Case, peers: str) -> dict[str, Any]:
    """Return what a process of its own found of a case, or why there is nothing."""
    command = [sys.executable, "-m", "benchmarks.train_throughput", "--one"]
    if case.side == "open_clip":
        command = [peers, "-m", PEERS_MODULE]
    try:
        done = subprocess.run([*command, case.to_json()], capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {TIMEOUT_S} s"}
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        print(done.stderr, file=sys.stderr)
        return {"failed": said.replace("|", "/")[:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratios(lines: Sequence[Line]) -> Iterator[str]:
    """Yield, for each model and source, our best rate over open_clip's; what leaves patches out does not count."""
    done = [line for line in lines if "failed" not in line.found and "half_dropout" not in line.case.switches]
    for key in sorted({(line.case.model, line.case.shards) for line in done}):
        best = {
            side: max((one.found["images_per_s"] for one in done if (*key, side) == _place(one)), default=None)
            for side in ("ours", "open_clip")
        }
        if best["ours"] and best["open_clip"]:
            data = "shards" if key[1] else "synthetic"
            yield f"\n{key[0]}, {data}: {best['ours'] / best['open_clip']:.2f} times open_clip's images/s"
    for line in done[:1] + [one for one in done if one.case.side == "open_clip"][:1]:
        version = line.found.get("version", "this commit")
        yield f"{line.case.side}: {version}, torch {line.found['torch']}, on {line.found['device']}"


def _place(line: Line) -> tuple[str, str, str]:
    return line.case.model, line.case.shards, line.case.side


def measure(case: Case) -> dict[str, Any]:
    """Return what the steps of our trainer take."""
    return measure_shards(case) if case.shards else measure_synthetic(case)


def recipe_of(case: Case) -> TrainRecipe:
    """Return the recipe that a case means, with the paper's optimiser."""
    switches = case.switches
    data = Data(
        batch_size=case.batch,
        decode=next((mode for mode in DECODE if mode in switches), "fast"),
        num_threads=case.threads,
        prefetch_batches=2,
    )
    run = Run(
        precision=case.precision,
        pack_text="packed" in switches,
        compile="compile" in switches,
        checkpoint_blocks="checkpoint" in switches,
    )
    model = Model(case.model, patch_dropout=HALF if "half_dropout" in switches else 0.0)
    return TrainRecipe(model, Tokenizer(case.merges), data=data, optimiser=Optimiser(learning_rate=1e-6), run=run)


def measure_synthetic(case: Case) -> dict[str, Any]:
    """Measure steps on batches that are on the device, tokens in main memory, as the loader gives them."""
    recipe, config, device = recipe_of(case), CONFIGS[case.model], torch.device(case.device)
    model = build_model(config, seed=0)
    set_patch_dropout(model, recipe.model.patch_dropout)
    called = prepare(model, recipe.run, Ranks(), device)
    optimiser = build_optimiser(model, recipe.optimiser)
    stepper = build_stepper(called, optimiser, LossScaler(case.precision, device), recipe, Ranks())
    side = config.vision.image_px
    shape = (case.batch, 3, side, side)
    images = [torch.randint(0, 256, shape, dtype=torch.uint8, device=device) for _ in range(NUM_BATCHES)]
    sizes = (config.text.context_length, config.text.vocabulary_size)
    tokens = [captions(case.batch, number, *sizes).numpy() for number in range(NUM_BATCHES)]

    def step(number: int) -> object:
        return train_step(stepper, images[number % NUM_BATCHES], tokens[number % NUM_BATCHES], number)

    found = time_steps(case, count(), step)
    lengths = [each.argmax(axis=1) + 1 if recipe.run.pack_text else trim_tokens(each).shape[1] for each in tokens]
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return found | {"num_tokens": _mean(lengths), "num_parameters": num_parameters}


def measure_shards(case: Case) -> dict[str, Any]:
    """Measure steps of a whole session: the loader, the copy to the device, the step."""
    recipe = recipe_of(case)
    tokens: list[Any] = []
    with tempfile.TemporaryDirectory() as out:
        session = open_session(recipe, read_index(case.shards), Place(out, torch.device(case.device), Ranks()), "never")
        limit = torch.tensor(float("inf"), device=case.device)

        def step(batch: Any) -> object:
            if len(tokens) < NUM_BATCHES:
                tokens.append(batch.tokens)
            return session.step(batch, limit)

        batches = session.batches()
        found = time_steps(case, batches, step)
        batches.close()
    lengths = [each.argmax(axis=1) + 1 if recipe.run.pack_text else trim_tokens(each).shape[1] for each in tokens]
    return found | {"num_tokens": _mean(lengths)}


def _mean(lengths: Sequence[Any]) -> float:
    return sum(float(torch.as_tensor(each).double().mean()) for each in lengths) / len(lengths)


if __name__ == "__main__":
    main()
