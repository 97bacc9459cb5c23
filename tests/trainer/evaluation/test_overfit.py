from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import real_data
from tests.trainer.conftest import make_sample, write_shards
from trainer.embedding.encode import Encoding, encode
from trainer.embedding.encoder import open_encoder
from trainer.embedding.folder import IMAGES, TEXTS, open_folder
from trainer.embedding.sources import find_images
from trainer.evaluation.retrieval import retrieve
from trainer.loader.cache import RangeCache
from trainer.recipe import Data, Model, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.training import train

NUM_PAIRS = 64
LEARN_BY_HEART = TrainRecipe(
    model=Model("ViT-micro/16"),
    tokenizer=Tokenizer(vocabulary_size=1_000),
    data=Data(batch_size=NUM_PAIRS, num_threads=1, decode="draft", cache_mb=64),
    optimiser=Optimiser(learning_rate=4e-3, weight_decay=0.0, warmup_steps=10, max_gradient_norm=1.0),
    run=Run(epochs=150, log_every_steps=10, save_every_steps=1_000),
)


def no_cache() -> RangeCache:
    raise AssertionError("a cache for shards on a disk")


@pytest.mark.slow
def test_real_pairs_are_learned_by_heart(tmp_path: Path) -> None:
    """64 photographs of a textbook and their alt texts: near no loss, and each finds the other among all again.

    The whole way: shards, training, a checkpoint on disk, embeddings on disk, ranks.
    """
    folder = real_data("image_text", "openstax-introduction-anthropology")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    photographs = [row for row in rows if row["file"].endswith(".jpg")][:NUM_PAIRS]
    samples = [make_sample(row["file"], row["alt"], (folder / row["file"]).read_bytes()) for row in photographs]
    shards = write_shards(tmp_path / "shards", sorted(samples, key=lambda sample: str(sample[0]["key"])), 1_000)
    ended = train(LEARN_BY_HEART, str(shards), str(tmp_path / "run"), "cpu")
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if line["event"] == "metrics"]
    assert losses[0] > 3  # ln 64 = 4.2 by chance
    assert losses[-1] < 0.1
    encoder = open_encoder(ended.checkpoint, torch.device("cpu"), "fp32")
    encode(encoder, [find_images(str(shards), no_cache)], str(tmp_path / "embeddings"), Encoding())
    embedded = open_folder(str(tmp_path / "embeddings"))
    image, text = (
        torch.from_numpy(np.concatenate([vectors for _, vectors in embedded.vectors(table)]))
        for table in (IMAGES, TEXTS)
    )
    found = retrieve(image, text, range(NUM_PAIRS))
    assert found.text_to_image(1) >= 0.95
    assert found.image_to_text(1) >= 0.95
