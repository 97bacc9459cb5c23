"""Checkpoints that others wrote, encoded and evaluated as they are, beside what their own libraries make of them.

    python -m benchmarks.foreign_checkpoints PEERS_PYTHON IMAGES CAPTIONS CLASS_FOLDERS

open_clip and transformers (PEERS_PYTHON has both) each write a ViT-B/32 with weights at random: as safetensors, as a
training checkpoint (.pt), as `save_pretrained`. Their own preprocessing and tokenizer embed the images of a folder and
the captions of a file, one a line; so does `wit encode`, from the very files. `wit evaluate` takes them too, on an
evaluation set in class folders. Prints how far apart embeddings and probabilities are, and how many predictions differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.embedding.folder import IMAGES, TEXTS, open_folder
from trainer.tokenizer import find_installed
from wit.cli import main as wit

CHECKPOINTS = {  # file or folder: what its own library made of it
    "open_clip/open_clip_model.safetensors": "open_clip.npz",
    "epoch_1.pt": "open_clip.npz",
    "transformers": "transformers.npz",
}
HEADING = (
    "| checkpoint | images | largest difference | captions | largest difference | zero-shot images | largest "
    "difference of probabilities | other predictions |"
)


def _run(arguments: list[str]) -> None:
    try:
        wit(arguments)
    except SystemExit as ended:
        if ended.code:
            raise


def _compare(out: Path, probabilities: NDArray[np.float32], settings: Mapping[str, list[str]]) -> str:
    """Return images, the largest difference of a predicted class's probability, and how many predictions differ."""
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    classes = settings["set_classes"]
    assert all(place.endswith(row["path"]) for place, row in zip(settings["set_images"], rows, strict=True))
    apart = [abs(own[classes.index(row["prediction"])] - row["probability"])
             for row, own in zip(rows, probabilities, strict=True)]  # fmt: skip
    others = sum(classes[int(own.argmax())] != row["prediction"] for row, own in zip(rows, probabilities, strict=True))
    return f"{len(rows)} | {max(apart):.1e} | {others}"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers")
    parser.add_argument("images", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--merges", help="CLIP's vocabulary; default: that of an installed package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = sorted(str(path) for path in options.images.iterdir())
        places = sorted(options.data.glob("*/*.*"))
        settings = {
            "images": images,
            "captions": options.captions.read_text().splitlines(),
            "set_images": [str(place) for place in places],
            "set_classes": sorted({place.parent.name.replace("_", " ") for place in places}),
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        script = Path(__file__).with_name("foreign_checkpoints_peers.py")
        shown = subprocess.run([options.peers, script, folder], stdout=subprocess.PIPE, text=True, check=True)
        print(shown.stdout.strip().splitlines()[-1])
        lines = [HEADING, "|---" * HEADING.count(" | ") + "|---|"]
        for number, (name, expected) in enumerate(CHECKPOINTS.items()):
            out = folder / f"embeddings-{number}"
            inputs = ["--images", str(options.images), "--texts", str(options.captions), "--numbers", "fp32"]
            merges = options.merges or find_installed()
            common = [str(folder / name), "--merges", merges, "--device", "cpu"]
            _run(["encode", *common, *inputs, "--out", str(out)])
            _run(["evaluate", *common, "--data", str(options.data), "--out", str(folder / f"evaluation-{number}")])
            found = open_folder(str(out))
            with np.load(folder / expected) as arrays:
                cells = []
                for table in (IMAGES, TEXTS):
                    vectors = np.concatenate([part for _, part in found.vectors(table)])
                    cells.append(f"{len(vectors)} | {np.abs(vectors - arrays[table]).max():.1e}")
                cells.append(_compare(folder / f"evaluation-{number}", arrays["probabilities"], settings))
            lines.append(f"| {name} | {' | '.join(cells)} |")
        print(*lines, sep="\n")  # what the commands print stands before it


if __name__ == "__main__":
    _main()
