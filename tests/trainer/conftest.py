"""Shards of the miniature world's pictures, small enough to train on in a second."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import torch

from tests.support import ROOT
from trainer.recipe import Data, Model, Optimiser, Run, Tokenizer, TrainRecipe
from wit.keys import sample_key
from wit.sample.captions import describe
from wit.sample.encoding import Picture, encode
from wit.sample.scenes import random_scene
from wit.schema.images import PRINTS
from wit.shards import write_shard

NUM_SAMPLES = 60
FORMATS = ("jpeg", "png", "webp")

Sample = tuple[dict[str, object], bytes]


def make_samples(count: int, seed: str = "trainer") -> list[Sample]:
    """Return (row, image) of drawn scenes, in key order."""
    samples = []
    for number in range(count):
        rng = Random(f"{seed} {number}")
        scene = random_scene(f"{seed} {number}")
        picture = Picture(scene, rng.randint(48, 80), rng.randint(48, 80), FORMATS[number % 3])
        samples.append(
            make_sample(f"http://pictures.example/{number}", describe(scene, rng), encode(picture), picture.format)
        )
    return sorted(samples, key=lambda sample: str(sample[0]["key"]))


def make_sample(url: str, caption: str, body: bytes, image_format: str = "jpeg") -> Sample:
    """Return (row of SAMPLES, image)."""
    digest = hashlib.sha256(body).hexdigest()
    row = {
        "key": sample_key(url, caption), "url": url, "final_url": url, "page_url": None, "archive": "a.warc.gz",
        "record_offset": 0, "attribute": "img@alt", "caption": caption, "query_ids": [0], "width": 1, "height": 1,
        "original_width": 1, "original_height": 1, "sha256": digest, "original_sha256": digest,
        "original_length": len(body), "format": image_format, **dict.fromkeys(field.name for field in PRINTS),
    }  # fmt: skip
    return row, body


def write_shards(folder: Path, samples: Sequence[Sample], samples_per_shard: int) -> Path:
    """Write samples as shards into a folder and return it."""
    for number, start in enumerate(range(0, len(samples), samples_per_shard)):
        write_shard(str(folder), number, samples[start : start + samples_per_shard])
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums are in one order, so that results can be compared bit by bit; small products gain nothing from more."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return make_samples(NUM_SAMPLES)


@pytest.fixture(scope="session")
def shards(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 samples in three shards."""
    return write_shards(tmp_path_factory.mktemp("shards"), samples, 25)


def micro_recipe(**run: object) -> TrainRecipe:
    """Return a recipe that trains in a second; keyword arguments go to its [run]."""
    defaults = {"epochs": 3, "save_every_steps": 2, "log_every_steps": 1}
    return TrainRecipe(
        model=Model("ViT-micro/16"),
        tokenizer=Tokenizer(vocabulary_size=600),
        data=Data(batch_size=16, num_threads=2),
        optimiser=Optimiser(learning_rate=1e-3, warmup_steps=2),
        run=Run(**(defaults | run)),  # type: ignore[arg-type]
    )


def kill_in_the_middle(code: str, arguments: Sequence[str], out: Path) -> None:
    """Run a script that trains into a folder, and kill it when the log there has five lines."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    log = out / "log.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
