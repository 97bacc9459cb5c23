"""Does it learn? Real pairs of images and captions, learned by heart, must find one another again.

    python -m benchmarks.overfit PAIRS [PAIRS ...] [--model ViT-micro/16] [--steps 1000] [--out FOLDER]

PAIRS is a folder of `pairs.jsonl` (file and alt text a line), or one with a COCO `captions_train2017.json` and its
images. They are written as plain WebDataset tars, indexed by `wit shards index`, trained on by `wit train`'s loop, all
of them in each batch, and embedded by `wit encode`'s code; recall is over all of them. Prints a table.

The least loss there can be is not zero where an image has several captions: its rows cannot be told apart, so each of
k of them gets at most 1/k, and the loss is at least the mean of ln k. The table names that floor.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipelines.shardset.indexing import index_tars
from trainer.embedding.encode import Encoding, encode
from trainer.embedding.encoder import open_encoder
from trainer.embedding.folder import IMAGES, TEXTS, open_folder
from trainer.embedding.sources import find_images
from trainer.evaluation.retrieval import Retrieval, retrieve
from trainer.loader.cache import RangeCache
from trainer.recipe import Data, Model, Optimiser, Run, Tokenizer, TrainRecipe
from trainer.training import train


@dataclass(frozen=True)
class Pair:
    """An image file and one of its captions."""

    image: Path
    caption: str


@dataclass(frozen=True)
class Learned:
    """What came of it."""

    num_images: int
    num_pairs: int
    floor: float
    losses: list[float]
    """By step."""
    retrieval: Retrieval


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder, each caption once."""
    lines = folder / "pairs.jsonl"
    if lines.exists():
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        found = [Pair(folder / row["file"], row["alt"]) for row in rows]
    else:
        facts = json.loads((folder / "captions_train2017.json").read_text())
        names = {image["id"]: image["file_name"] for image in facts["images"]}
        found = [Pair(folder / "train2017" / names[one["image_id"]], one["caption"]) for one in facts["annotations"]]
    return list({pair.caption: pair for pair in found}.values())


def write_tar(pairs: list[Pair], folder: Path) -> None:
    """Write pairs as a WebDataset tar with its index beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, pair in enumerate(pairs):
            members = {pair.image.suffix.lstrip("."): pair.image.read_bytes(), "txt": pair.caption.encode()}
            for suffix, data in members.items():
                member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    index_tars(str(folder), None, processes=1)


def recipe(model: str, num_pairs: int, steps: int) -> TrainRecipe:
    """Return a recipe that learns by heart: no decay, every batch all pairs."""
    return TrainRecipe(
        model=Model(model),
        tokenizer=Tokenizer(vocabulary_size=2_048),
        data=Data(batch_size=num_pairs, decode="draft", cache_mb=512),
        optimiser=Optimiser(learning_rate=1e-3, weight_decay=0.0, warmup_steps=20, max_gradient_norm=1.0),
        run=Run(epochs=steps, log_every_steps=1, save_every_steps=max(steps, 1)),
    )


def learn(pairs: list[Pair], model: str, steps: int, out: Path) -> Learned:
    """Train on pairs under a folder, embed them, and say how they find one another."""
    write_tar(pairs, out / "shards")
    ended = train(recipe(model, len(pairs), steps), str(out / "shards"), str(out / "run"), "cpu")
    lines = map(json.loads, (out / "run" / "log.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if line["event"] == "metrics"]
    encoder = open_encoder(ended.checkpoint, torch.device("cpu"), "fp32")

    def open_cache() -> RangeCache:
        raise AssertionError("the shards are on a disk")

    encode(encoder, [find_images(str(out / "shards"), open_cache)], str(out / "embeddings"), Encoding(numbers="fp32"))
    folder = open_folder(str(out / "embeddings"))
    image_MD, text_MD = (np.concatenate([vectors for _, vectors in folder.vectors(table)]) for table in (IMAGES, TEXTS))
    numbers = {pair.image: number for number, pair in reversed(list(enumerate(pairs)))}
    first = sorted(numbers.values())
    owner = [first.index(numbers[pair.image]) for pair in pairs]
    retrieval = retrieve(torch.from_numpy(image_MD[first]), torch.from_numpy(text_MD), owner)
    return Learned(len(first), len(pairs), floor_of(pairs), losses, retrieval)


def floor_of(pairs: list[Pair]) -> float:
    """Return the mean of ln k over pairs whose image has k captions: the least loss of a batch of all."""
    counts = Counter(pair.image for pair in pairs)
    return float(np.mean([np.log(counts[pair.image]) for pair in pairs]))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", type=Path)
    parser.add_argument("--model", default="ViT-micro/16")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print("| pairs | images | captions | least loss | loss at first | at the end | R@1 text to image | image to text |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.pairs:
            out = (options.out or Path(scratch)) / folder.name
            got = learn(read_pairs(folder), options.model, options.steps, out)
            print(
                f"| {folder.name} | {got.num_images} | {got.num_pairs} | {got.floor:.3f} | {got.losses[0]:.3f} | "
                f"{got.losses[-1]:.3f} | {got.retrieval.text_to_image(1):.1%} | {got.retrieval.image_to_text(1):.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    _main()
