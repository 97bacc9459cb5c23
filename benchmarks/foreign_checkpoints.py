"""Checkpoints that others wrote, embedded by `wit encode` as they are, beside what their own libraries make of them.

    python -m benchmarks.foreign_checkpoints PEERS_PYTHON IMAGES CAPTIONS

open_clip and transformers (PEERS_PYTHON has both) each write a ViT-B/32 with weights at random: as safetensors, as a
training checkpoint (.pt), as `save_pretrained`. Their own preprocessing and tokenizer embed the images of a folder and
the captions of a file, one a line; so does `wit encode`, from the very files. Prints how far apart they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from trainer.embedding.folder import IMAGES, TEXTS, open_folder
from trainer.tokenizer import find_installed
from wit.cli import main as wit

CHECKPOINTS = {  # file or folder: what its own library made of it
    "open_clip/open_clip_model.safetensors": "open_clip.npz",
    "epoch_1.pt": "open_clip.npz",
    "transformers": "transformers.npz",
}


def _encode(arguments: list[str]) -> None:
    try:
        wit(["encode", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers")
    parser.add_argument("images", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--merges", help="CLIP's vocabulary; default: that of an installed package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = sorted(str(path) for path in options.images.iterdir())
        settings = {"images": images, "captions": options.captions.read_text().splitlines()}
        (folder / "settings.json").write_text(json.dumps(settings))
        script = Path(__file__).with_name("foreign_checkpoints_peers.py")
        shown = subprocess.run([options.peers, script, folder], stdout=subprocess.PIPE, text=True, check=True)
        print(shown.stdout.strip().splitlines()[-1])
        print("| checkpoint | images | largest difference | captions | largest difference |")
        print("|---|---|---|---|---|")
        for number, (name, expected) in enumerate(CHECKPOINTS.items()):
            out = folder / f"embeddings-{number}"
            inputs = ["--images", str(options.images), "--texts", str(options.captions), "--numbers", "fp32"]
            merges = options.merges or find_installed()
            _encode([str(folder / name), *inputs, "--merges", merges, "--device", "cpu", "--out", str(out)])
            found = open_folder(str(out))
            with np.load(folder / expected) as arrays:
                cells = []
                for table in (IMAGES, TEXTS):
                    vectors = np.concatenate([part for _, part in found.vectors(table)])
                    cells.append(f"{len(vectors)} | {np.abs(vectors - arrays[table]).max():.1e}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    _main()
