"""Embeddings of our models beside those of other implementations, with the same random weights and inputs, in fp32.

    python -m benchmarks.model_parity --peers PEERS_PYTHON [--released FOLDER] [--models RN50 ViT-B/32 ...]
        [--images 2] [--tolerance 1e-5]

PEERS_PYTHON has transformers and open_clip; FOLDER holds the released CLIP code, as cloned. Each peer draws a model's
weights, computes the embeddings of a few images and texts and writes its checkpoint in its own format; ours is read
from that file (`trainer.interchange`) and computes them again. `released, archive` is the same checkpoint as a
TorchScript archive, the format in which OpenAI released its own; `open_clip, folder` is a model with the exact GELU,
as it goes to a hub. `to open_clip` is the other way: open_clip loads what we write, a file or a folder. Prints a table
of the largest differences between unit embeddings, and fails above the tolerance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.interchange.reading import read_model
from trainer.interchange.writing import write_open_clip, write_openai
from trainer.models.clip import Clip
from trainer.models.config import CONFIGS, ClipConfig, VisionConfig

PEERS_SCRIPT = Path(__file__).with_name("model_parity_peers.py")
PAPER = tuple(name for name, config in CONFIGS.items() if config.text.layers == 12)
IN_OPEN_CLIP = {name: name.replace("/", "-").replace("@336px", "-336") + "-quickgelu" for name in PAPER}

FILES = {  # of each peer: what it writes, and what that is
    "released": (("checkpoint", "released"), ("archive", "released, archive")),
    "transformers": (("checkpoint", "transformers"),),
    "open_clip": (("training.pt", "open_clip"),),
    "open_clip_folder": (("checkpoint", "open_clip, folder"),),
}
WRITERS = {"open_clip": ("ours.safetensors", write_openai), "open_clip_folder": ("ours", write_open_clip)}

Features = tuple[NDArray[np.float32], NDArray[np.float32]]


def main() -> None:
    """Compare all models with all peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--released", default="")
    parser.add_argument("--models", nargs="+", default=PAPER, choices=tuple(CONFIGS))
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    options = parser.parse_args()
    print("| Model | Weights of, in | Images | Texts |\n|---|---|---|---|")
    worst = 0.0
    for name in options.models:
        for peer in _peers_of(CONFIGS[name], bool(options.released)):
            with tempfile.TemporaryDirectory() as folder:
                for row, differences in compare(name, peer, Path(folder), options):
                    print(f"| {name} | {row} | {differences[0]:.1e} | {differences[1]:.1e} |", flush=True)
                    worst = max(worst, *differences)
    if not worst <= options.tolerance:
        sys.exit(f"expected differences of at most {options.tolerance}, found {worst}")


def _peers_of(config: ClipConfig, has_released: bool) -> list[str]:
    peers = ["open_clip", "open_clip_folder"]
    if isinstance(config.vision, VisionConfig):
        peers.insert(0, "transformers")
    return ["released", *peers] if has_released else peers


def compare(name: str, peer: str, folder: Path, options: Any) -> list[tuple[str, list[float]]]:
    """Return (what was compared, largest differences of images and texts) of a model and a peer."""
    config = replace(CONFIGS[name], activation="gelu" if peer == "open_clip_folder" else "quick_gelu")
    images, tokens = _inputs(config, options.images)
    np.savez(folder / "inputs.npz", images=images.numpy(), tokens=tokens.numpy())
    settings = {"config": asdict(config), "open_clip": IN_OPEN_CLIP.get(name), "released": options.released}
    (folder / "settings.json").write_text(json.dumps(settings))
    _run(options.peers, peer, folder)
    rows = []
    for file, label in FILES[peer]:
        if (folder / file).exists():
            model = _read(folder / file, config)
            rows.append((label, _differences(_features(model, images, tokens), folder / f"{peer}.npz")))
    if (folder / "released_training.npz").exists():
        rows.append(("released, batch statistics", _training_differences(model, images, folder)))
    if peer in WRITERS:
        written_name, write = WRITERS[peer]
        write(str(folder / written_name), model)
        _run(options.peers, f"to_{peer}", folder)
        written = _differences(_features(model, images, tokens), folder / f"to_{peer}.npz")
        rows.append((f"to {FILES[peer][0][1]}", written))
    return rows


def _run(peers: str, peer: str, folder: Path) -> None:
    subprocess.run([peers, str(PEERS_SCRIPT), peer, str(folder)], check=True, capture_output=True, text=True)


def _inputs(config: ClipConfig, num_images: int) -> tuple[Tensor, Tensor]:
    """Return normalised images and texts of several lengths: start, words, end, padding."""
    generator = torch.Generator().manual_seed(0)
    side, text = config.vision.image_px, config.text
    images = torch.randn(num_images, 3, side, side, generator=generator)
    tokens = torch.zeros(3, text.context_length, dtype=torch.long)
    for row, length in enumerate((2, min(20, text.context_length), text.context_length)):
        tokens[row, :length] = torch.randint(1, text.vocabulary_size - 2, (length,), generator=generator)
        tokens[row, 0], tokens[row, length - 1] = text.vocabulary_size - 2, text.vocabulary_size - 1
    return images, tokens


def _read(path: Path, config: ClipConfig) -> Clip:
    model, weights = read_model(str(path))
    assert weights.config == config, f"expected {config}, found {weights.config}"
    assert isinstance(model, Clip)
    return model.eval()


@torch.no_grad()
def _features(model: Clip, images: Tensor, tokens: Tensor) -> Features:
    return model.encode_image(images).numpy(), model.encode_text(tokens).numpy()


def _differences(ours: Features, theirs: Path) -> list[float]:
    with np.load(theirs) as features:
        return [float(np.abs(one - features[name]).max()) for one, name in zip(ours, ("images", "texts"), strict=True)]


@torch.no_grad()
def _training_differences(model: Clip, images: Tensor, folder: Path) -> list[float]:
    """Return the differences of images by the batch's own statistics, and of the running ones after it (relative)."""
    with np.load(folder / "released_training.npz") as features:
        found = model.train().encode_image(images).numpy()
        running = np.concatenate([one.numpy() for name, one in model.state_dict().items() if "running_" in name])
        wanted = features["running"]
        return [
            float(np.abs(found - features["images"]).max()),
            float((np.abs(running - wanted) / np.maximum(1, np.abs(wanted))).max()),
        ]


if __name__ == "__main__":
    main()
