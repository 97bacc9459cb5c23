"""The benchmark of training steps: what it measures and how it says so, not how fast anything is."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

import pytest

import benchmarks.train_throughput
from benchmarks.throughput_timing import Case, captions, time_steps
from benchmarks.train_throughput import Line, largest_that_fits, measure, ratios

CASE = Case("ours", "ViT-micro/16", "packed", 4, "cpu", "fp32", steps=2, warmup=1)
FOUND = {
    "images_per_s": 1_000.0, "least": 990.0, "most": 1_010.0, "wait_share": 0.25, "peak_bytes": 8e9,
    "device": "NVIDIA H200", "torch": "2.11.0", "num_tokens": 77.0,
}  # fmt: skip


def test_synthetic_captions_are_as_long_as_those_of_the_web() -> None:
    """Each begins with the start mark and ends with the highest id; padding follows; 20 tokens on average."""
    tokens = captions(2_000, seed=0)
    lengths = tokens.argmax(dim=1) + 1
    assert tokens.shape == (2_000, 77)
    assert set(tokens[:, 0].tolist()) == {49_406}
    assert int(lengths.min()) >= 3
    assert float(lengths.float().mean()) == pytest.approx(20, abs=1)
    assert all(int(row[length:].sum()) == 0 for row, length in zip(tokens, lengths.tolist(), strict=True))
    assert not (tokens == captions(2_000, seed=1)).all()


def test_every_step_of_a_window_is_counted() -> None:
    """Steps of the warm-up are taken and not timed; five windows of equal length hold the others."""
    taken: list[int] = []
    found = time_steps(replace(CASE, steps=10, warmup=3), iter(range(100)), taken.append)
    assert taken == list(range(13))
    assert 0 < found["least"] <= found["images_per_s"] <= found["most"]
    assert 0 <= found["wait_share"] <= 1


@pytest.mark.parametrize("variant", ["packed", "padded+half_dropout+checkpoint"])
def test_a_case_takes_training_steps(variant: str) -> None:
    """A small model's steps are measured; packed captions cost their own tokens, padded ones those of the longest."""
    found = measure(replace(CASE, variant=variant))
    assert found["images_per_s"] > 0
    assert found["num_parameters"] > 10_000
    assert found["num_tokens"] <= 16 if variant == "packed" else found["num_tokens"] == 16


def test_a_line_says_what_its_side_computes() -> None:
    """open_clip's 1,000 images/s of ViT-B/32 are 44.3 TFLOP/s, 4.5 % of an H200's 989.5; ours skip the last block."""
    theirs = Line(replace(CASE, side="open_clip", model="ViT-B/32", precision="bf16"), FOUND)
    assert "| 1,000.0 (990.0 to 1,010.0) | 1,000.0 | 77.0 | 44.3 | 4.5% | 8.0 | 25% |" in theirs.cells()
    ours = Line(replace(theirs.case, side="ours"), FOUND)
    assert ours.flops < theirs.flops
    unknown = Line(theirs.case, FOUND | {"device": "CPU"})
    assert "| unknown peak |" in unknown.cells()


def test_an_image_with_half_its_patches_is_not_a_whole_one() -> None:
    """Dense-equivalent images a second count the work that patch dropout leaves; what padding saves is no loss."""
    half = Line(replace(CASE, model="ViT-B/16", variant="packed+half_dropout"), FOUND | {"num_tokens": 20.0})
    whole = Line(replace(half.case, variant="packed"), FOUND | {"num_tokens": 20.0})
    assert "| 1,000.0 |" in whole.cells()
    assert "| 1,000.0 |" not in half.cells()


def test_batches_that_do_not_fit_are_said_and_a_smaller_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The largest size comes first; one that runs out of memory has a line of its own, and no part in the ratio."""

    def run_one(case: Case, peers: str) -> dict[str, Any]:
        rate = {"ours": 300.0, "open_clip": 200.0}[case.side]
        return FOUND | {"images_per_s": rate} if case.batch <= 64 else {"failed": "out of memory"}

    monkeypatch.setattr(benchmarks.train_throughput, "run_one", run_one)
    options = Namespace(batch=[32, 256, 64], peers="")
    lines = [line for side in ("ours", "open_clip") for line in largest_that_fits(replace(CASE, side=side), options)]
    assert [line.case.batch for line in lines] == [256, 64, 256, 64]
    assert capsys.readouterr().out.count("out of memory") == 2
    assert "1.50 times open_clip's images/s" in "\n".join(ratios(lines))
