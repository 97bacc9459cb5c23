"""open_clip's side of train_throughput.py; runs in an environment of its own, from the root of this repository.

    PEERS_PYTHON -m benchmarks.train_throughput_peers CASE

CASE is JSON, as `throughput_timing.Case` has it. The model, the loss, the tokenizer and the loader are open_clip's, and
the step is that of its `train_one_epoch` without accumulation: products under autocast, weights in fp32. Switches:
`compile_model` and `compile_step` are two of its strategies of torch.compile, `fused` is torch's fused AdamW, and
`quick_gelu` takes CLIP's activation in place of the exact GELU, which open_clip's own models have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from inspect import signature
from itertools import count
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from benchmarks.throughput_timing import NUM_BATCHES, Case, captions, report_one, time_steps

Pair = tuple[Tensor, Tensor]
OPTIONS = {"lr": 1e-6, "betas": (0.9, 0.98), "eps": 1e-6}
PRECISIONS = {"bf16": "amp_bf16", "fp32": "fp32"}


def main() -> None:
    """Measure one case."""
    report_one(measure)


def measure(case: Case) -> dict[str, Any]:
    """Return what the steps of a case take."""
    device, name = torch.device(case.device), case.model.replace("/", "-")
    if "quick_gelu" in case.switches:
        name += "-quickgelu"
    model, transform, _ = open_clip.create_model_and_transforms(
        name, precision=PRECISIONS[case.precision], device=device, output_dict=True
    )
    step = build_step(case, model)
    batches = real_batches(case, name, transform) if case.shards else synthetic_batches(case, model)

    def move_and_step(batch: Pair) -> object:
        images, tokens = (part.to(device, non_blocking=True) for part in batch)
        return step(images, tokens)

    found = time_steps(case, batches, move_and_step)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return found | {"num_parameters": num_parameters, "version": version("open_clip_torch"), "num_tokens": 77.0}


def build_step(case: Case, model: nn.Module) -> Callable[[Tensor, Tensor], object]:
    """Return open_clip's step, with its optimiser and its loss."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        is_plain = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (plain if is_plain else decayed).append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.2}]
    optimiser = torch.optim.AdamW(groups, fused="fused" in case.switches, **OPTIONS)
    loss = open_clip.ClipLoss(cache_labels=True)
    called = torch.compile(model) if "compile_model" in case.switches else model
    called.train()

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(case.device, torch.bfloat16) if case.precision == "bf16" else nullcontext()

    def compute(images: Tensor, tokens: Tensor) -> Tensor:
        with autocast():
            out = called(images, tokens)
            total: Tensor = loss(**out)
        total.backward()
        optimiser.step()
        return total

    compiled = torch.compile(compute) if "compile_step" in case.switches else compute

    def step(images: Tensor, tokens: Tensor) -> object:
        optimiser.zero_grad()
        total = compiled(images, tokens)
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6052)
        return total

    return step


def synthetic_batches(case: Case, model: nn.Module) -> Iterator[Pair]:
    """Yield batches that are on the device already, images as floats."""
    device, side = torch.device(case.device), model.visual.image_size
    side = side[0] if isinstance(side, tuple) else side
    images = [torch.randn(case.batch, 3, side, side, device=device) for _ in range(NUM_BATCHES)]
    tokens = [captions(case.batch, number).to(device) for number in range(NUM_BATCHES)]
    for number in count():
        yield images[number % NUM_BATCHES], tokens[number % NUM_BATCHES]


def real_batches(case: Case, name: str, transform: Any) -> Iterator[Pair]:
    """Yield the batches of open_clip's WebDataset loader, epoch after epoch.

    webdataset 1.0 marks the end of each shard, at which open_clip 3.3.0 fails: the mark is turned off.
    """
    import open_clip_train.data
    from open_clip_train.params import parse_args

    expand = open_clip_train.data.tar_file_expander
    if "eof_value" in signature(expand).parameters:
        open_clip_train.data.tar_file_expander = partial(expand, eof_value=None)

    num_samples = max(1, case.steps + case.warmup) * case.batch
    args = parse_args(
        ["--train-data", case.shards, "--dataset-type", "webdataset", "--train-num-samples", str(num_samples),
         "--batch-size", str(case.batch), "--workers", str(case.threads), "--model", name, "--dataset-resampled"]
    )  # fmt: skip
    args.world_size, args.rank, args.distributed = 1, 0, False
    data = open_clip_train.data.get_data(
        args, (transform, transform), epoch=0, tokenizer=open_clip.get_tokenizer(name)
    )["train"]
    for epoch in count():
        data.set_epoch(epoch)
        for batch in data.dataloader:
            yield (batch["image"], batch["text"]) if isinstance(batch, dict) else tuple(batch)


if __name__ == "__main__":
    main()
