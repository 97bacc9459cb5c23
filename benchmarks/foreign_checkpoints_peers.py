"""The peers' side of foreign_checkpoints.py; runs in an environment of its own.

    PEERS_PYTHON benchmarks/foreign_checkpoints_peers.py FOLDER

FOLDER holds settings.json, as foreign_checkpoints.py writes it. Writes checkpoints of models at random there, each as
its own library writes them, and what that library makes of the images and captions. Prints one line of JSON: the
versions.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

OPEN_CLIP_NAME = "ViT-B-32-quickgelu"


def embed(model: Any, images: torch.Tensor, tokens: torch.Tensor, as_open_clip: bool) -> dict[str, np.ndarray]:
    """Return unit embeddings of images and captions."""
    with torch.inference_mode():
        if as_open_clip:
            found = [model.encode_image(images), model.encode_text(tokens)]
        else:
            found = [model.get_image_features(pixel_values=images), model.get_text_features(input_ids=tokens)]
            found = [getattr(one, "pooler_output", one) for one in found]
    return {
        name: torch.nn.functional.normalize(one, dim=-1).numpy()
        for name, one in zip(("images", "texts"), found, strict=True)
    }


def zero_shot(model: Any, settings: dict[str, Any], preprocess: Any, as_open_clip: bool) -> dict[str, np.ndarray]:
    """Return probabilities of the classes (columns) of an evaluation set's images (rows)."""
    images = torch.stack([preprocess(Image.open(path).convert("RGB")) for path in settings["set_images"]])
    tokens = open_clip.get_tokenizer(OPEN_CLIP_NAME)([f"A photo of a {name}." for name in settings["set_classes"]])
    found = embed(model, images, tokens, as_open_clip)
    logits = float(model.logit_scale.exp()) * found["images"] @ found["texts"].T
    return {"probabilities": torch.from_numpy(logits).softmax(dim=1).numpy()}


def main() -> None:
    """Write the checkpoints, embeddings and probabilities."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(OPEN_CLIP_NAME)
    model.eval()
    images = torch.stack([preprocess(Image.open(path)) for path in settings["images"]])
    tokens = open_clip.get_tokenizer(OPEN_CLIP_NAME)(settings["captions"])
    (folder / "open_clip").mkdir()
    save_file(model.state_dict(), folder / "open_clip" / "open_clip_model.safetensors")
    training = {"epoch": 1, "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}
    torch.save(training, folder / "epoch_1.pt")
    seen = zero_shot(model, settings, preprocess, as_open_clip=True)
    np.savez(folder / "open_clip.npz", **embed(model, images, tokens, as_open_clip=True), **seen)
    other = CLIPModel(CLIPConfig(text_config={"eos_token_id": 49_407}, vision_config={}, projection_dim=512)).eval()
    other.save_pretrained(folder / "transformers")
    seen = zero_shot(other, settings, preprocess, as_open_clip=False)
    np.savez(folder / "transformers.npz", **embed(other, images, tokens, as_open_clip=False), **seen)
    print(json.dumps({name: version(name) for name in ("open_clip_torch", "transformers", "torch")}))


if __name__ == "__main__":
    main()
