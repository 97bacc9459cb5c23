from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.running.work
from tests.trainer.conftest import micro_recipe
from trainer.models.config import CONFIGS
from trainer.models.flops import training_flops
from trainer.parallel.ranks import ALONE, Ranks
from trainer.running.meter import Meter, SampleSum, Window
from trainer.running.work import WorkMeter

CPU = torch.device("cpu")
KEYS = st.lists(st.text(max_size=20), min_size=2, max_size=12)


def total(keys: list[str], start: int = 0, before: int = 0) -> int:
    found = SampleSum(before)
    found.add(keys, start)
    return found.total(ALONE)


@settings(max_examples=50)
@given(KEYS, st.integers(0, 12), st.integers(0, 10**12))
def test_the_sum_of_parts_is_that_of_the_whole(keys: list[str], at: int, start: int) -> None:
    """However samples are dealt out to ranks and steps: the same sum. It goes on from a saved one."""
    parts = total(keys[:at], start) + total(keys[at:], start + min(at, len(keys)))
    assert parts % 2**64 == total(keys, start)
    assert total(keys[at:], start + min(at, len(keys)), total(keys[:at], start)) == total(keys, start)


@settings(max_examples=50)
@given(KEYS.filter(lambda keys: keys[0] != keys[-1]))
def test_the_sum_knows_places(keys: list[str]) -> None:
    """Two samples that change places, one that is lost or another: another sum."""
    swapped = [keys[-1], *keys[1:-1], keys[0]]
    assert len({total(keys), total(swapped), total(keys[1:]), total([*keys[:-1], keys[-1] + "x"])}) == 4


def test_the_meter_tells_work_from_waiting() -> None:
    """Waiting is the time until a batch came; what is paused is neither; peak memory is that of this process."""

    def batches() -> object:
        for _ in range(3):
            time.sleep(0.05)
            yield "batch"

    meter = Meter(ALONE, CPU)
    made = batches()
    assert [meter.wait_for(made) for _ in range(3)] == ["batch"] * 3  # type: ignore[arg-type]
    with meter.paused():
        time.sleep(0.5)
    window = meter.report()
    assert window.num_steps == 3
    assert 0.15 <= window.seconds < 0.5
    assert window.wait_share == pytest.approx(0.15 / window.seconds, abs=0.2)
    assert 2**24 < window.peak_bytes < 2**40
    assert meter.report().num_steps == 0


@pytest.mark.parametrize("packs", [False, True])
def test_tokens_and_mfu_are_counted_from_captions(packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens up to the end marks; work on padding counts where there is such; the peak is of all ranks' devices."""
    monkeypatch.setattr(trainer.running.work, "peak_flops", lambda name, precision: 1e9)
    config = CONFIGS["ViT-micro/16"]
    recipe = micro_recipe(pack_text=packs)
    meter = WorkMeter(recipe, config, CPU)
    tokens = np.zeros((2, 16), np.int64)
    tokens[0, 3] = tokens[1, 9] = 599  # captions of 4 and 10 tokens
    for _ in range(2):
        meter.add(tokens)
        found = meter.report(Window(1, 2.0, 0.0, 0), ALONE)
        assert found["tokens_per_s"] == 7.0
        assert found["mfu"] == pytest.approx(2 * training_flops(config, 7 if packs else 10) / 2 / 1e9, abs=1e-4)


def test_a_device_that_is_not_known_has_no_mfu() -> None:
    """Of a CPU nobody says how much it could do."""
    meter = WorkMeter(micro_recipe(), CONFIGS["ViT-micro/16"], CPU)
    meter.add(np.full((2, 16), 1, np.int64))
    assert meter.report(Window(1, 1.0, 0.0, 0), replace(ALONE)).keys() == {"tokens_per_s"}
    assert Ranks() == ALONE
