"""Shards to measure loaders with: photographs' sizes and spectra, captions' lengths, no photographs."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from wit.keys import sample_key
from wit.schema.images import PRINTS
from wit.shards import write_shard

WIDTH, HEIGHT, QUALITY = 640, 512, 85
NUM_PICTURES = 64  # different ones; samples of different captions share them
WORDS = (
    "a the of in on with and two red old small white young city beach mountain river house dog cat bird man woman "
    "child tree flower street market window table bridge boat train sky night summer winter photo picture view stock"
)


def write_noise_shards(folder: Path, num_shards: int, samples_a_shard: int) -> str:
    """Write shards into a folder, unless they lie there, and return their brace pattern."""
    pattern = f"{folder}/{{00000..{num_shards - 1:05d}}}.tar"
    if (folder / f"{num_shards - 1:05d}.tar").exists():
        return pattern
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [noise_jpeg(number) for number in range(NUM_PICTURES)]
    for shard in range(num_shards):
        numbers = range(shard * samples_a_shard, (shard + 1) * samples_a_shard)
        samples = [_sample(number, pictures[number % NUM_PICTURES]) for number in numbers]
        write_shard(str(folder), shard, sorted(samples, key=lambda sample: str(sample[0]["key"])))
    return pattern


def noise_jpeg(seed: int) -> bytes:
    """Return a JPEG of noise whose spectrum falls as a photograph's does: octaves, the coarser the stronger."""
    draw = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0, np.float32)
    for octave in range(8):
        size = (max(2, WIDTH >> (7 - octave)), max(2, HEIGHT >> (7 - octave)))
        coarse = draw.normal(0, 64.0 * 0.62**octave, (size[1], size[0], 3)).astype(np.float32)
        planes = [Image.fromarray(coarse[:, :, i]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for i in range(3)]
        pixels += np.stack([np.asarray(plane) for plane in planes], axis=-1)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _sample(number: int, body: bytes) -> tuple[dict[str, object], bytes]:
    draw = random.Random(f"noise {number}")
    caption = " ".join(draw.choice(WORDS.split()) for _ in range(draw.randint(6, 30)))
    return sample(f"http://noise.example/{number}", caption, body, (WIDTH, HEIGHT))


def sample(url: str, caption: str, body: bytes, size: tuple[int, int]) -> tuple[dict[str, object], bytes]:
    """Return a sample, (row of SAMPLES, image), whose JPEG has so many pixels across and down."""
    digest = hashlib.sha256(body).hexdigest()
    row = {
        "key": sample_key(url, caption), "url": url, "final_url": url, "page_url": None, "archive": "made",
        "record_offset": 0, "attribute": "img@alt", "caption": caption, "query_ids": [0], "width": size[0],
        "height": size[1], "original_width": size[0], "original_height": size[1], "sha256": digest,
        "original_sha256": digest, "original_length": len(body), "format": "jpeg",
        **dict.fromkeys(field.name for field in PRINTS),
    }  # fmt: skip
    return row, body
