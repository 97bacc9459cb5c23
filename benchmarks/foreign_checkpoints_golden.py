"""Writes tests/trainer/interchange/golden_peers.json: what others' own code makes of small checkpoints of theirs.

    PEERS_PYTHON -m benchmarks.foreign_checkpoints_golden OPENAI_CLIP OUT.json

Runs in an environment with open_clip and transformers; OPENAI_CLIP is a checkout of openai/CLIP, whose model.py is
used. Weights, pictures and captions are those of tests/trainer/interchange/golden.py.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from transformers import CLIPConfig, CLIPModel

from tests.trainer.interchange.golden import CONTEXT_LENGTH, SIDE_PX, TOKENS, VOCABULARY_SIZE, pictures, tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
WIDTH, LAYERS, PATCH, EMBED = 64, 2, 16, 16


def open_clip_model() -> Any:
    """Return open_clip's model."""
    vision = {"image_size": SIDE_PX, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH}
    text = {"context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY_SIZE, "width": WIDTH, "heads": 1, "layers": 1}
    return open_clip.CLIP(EMBED, vision, text, quick_gelu=True)


def openai_model(checkout: str) -> Any:
    """Return OpenAI's model."""
    spec = importlib.util.spec_from_file_location("openai_model", Path(checkout) / "clip" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shapes = (SIDE_PX, LAYERS, WIDTH, PATCH, CONTEXT_LENGTH, VOCABULARY_SIZE, WIDTH, 1, 1)
    return module.CLIP(EMBED, *shapes)


def transformers_model() -> Any:
    """Return transformers' model."""
    common = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 1}
    text = {"vocab_size": VOCABULARY_SIZE, "max_position_embeddings": CONTEXT_LENGTH, "num_hidden_layers": 1,
            "bos_token_id": VOCABULARY_SIZE - 2, "eos_token_id": VOCABULARY_SIZE - 1}  # fmt: skip
    vision = {"image_size": SIDE_PX, "patch_size": PATCH, "num_hidden_layers": LAYERS}
    return CLIPModel(CLIPConfig(text_config=common | text, vision_config=common | vision, projection_dim=EMBED))


def measure(model: Any, is_transformers: bool) -> dict[str, Any]:
    """Return shapes of a model's weights, and its logits of pictures (rows) and captions (columns)."""
    state = {name: torch.from_numpy(tensor(name, tuple(one.shape))) for name, one in model.state_dict().items()}
    model.load_state_dict(state)
    model.eval()
    pixels = torch.from_numpy(np.stack(list(pictures().values()))).permute(0, 3, 1, 2).float() / 255
    images = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    tokens = torch.zeros(len(TOKENS), CONTEXT_LENGTH, dtype=torch.long)
    for row, own in enumerate(TOKENS):
        tokens[row, : len(own)] = torch.tensor(own)
    with torch.inference_mode():
        if is_transformers:
            logits = model(pixel_values=images, input_ids=tokens).logits_per_image
        else:
            image, text = (torch.nn.functional.normalize(one, dim=-1)
                           for one in (model.encode_image(images), model.encode_text(tokens)))  # fmt: skip
            logits = model.logit_scale.exp() * image @ text.T
    shapes = {name: list(one.shape) for name, one in state.items()}
    return {"shapes": shapes, "logits": [[round(value, 5) for value in row] for row in logits.tolist()]}


def main() -> None:
    """Write the file."""
    checkout, out = sys.argv[1:]
    found = {
        "open_clip": {"version": version("open_clip_torch"), **measure(open_clip_model(), False)},
        "openai": {"version": "openai/CLIP's model.py", **measure(openai_model(checkout), False)},
        "transformers": {"version": version("transformers"), **measure(transformers_model(), True)},
    }
    Path(out).write_text(json.dumps({"torch": version("torch"), **found}) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
