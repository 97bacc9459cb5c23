"""What `model_parity` has another Python do: build a peer's model, draw its weights, embed, and write the checkpoint.

    PEERS_PYTHON model_parity_peers.py PEER FOLDER

FOLDER holds settings.json and inputs.npz; into it go NAME.npz (embeddings) and the files that ours is read from.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

Settings = dict


def main() -> None:
    """Do what the command line says."""
    peer, folder = sys.argv[1], Path(sys.argv[2])
    settings = json.loads((folder / "settings.json").read_text())
    with np.load(folder / "inputs.npz") as inputs:
        images, tokens = torch.from_numpy(inputs["images"]), torch.from_numpy(inputs["tokens"])
    torch.manual_seed(0)
    PEERS[peer](settings, images, tokens, folder)


@torch.no_grad()
def shake(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model whose gains, biases and running statistics are not ones and zeros, so that each of them counts."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.ndim == 1 and value.is_floating_point():
            value += 0.1 * torch.randn_like(value)
        if name.endswith("running_var"):
            value.clamp_(min=0.5)
    return model.eval()


def save_features(path: Path, images: torch.Tensor, texts: torch.Tensor) -> None:
    """Write embeddings, made unit length."""
    np.savez(path, **{
        name: functional.normalize(one.float(), dim=-1).numpy() for name, one in (("images", images), ("texts", texts))
    })  # fmt: skip


@torch.no_grad()
def released(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """The released code: its state dict as OpenAI's users save it, and a TorchScript archive in its way."""
    sys.path.insert(0, settings["released"])
    from clip.model import CLIP

    config = settings["config"]
    vision, text = config["vision"], config["text"]
    model = shake(CLIP(
        config["embed_dim"], vision["image_px"], tuple(vision["blocks"]) if "blocks" in vision else vision["layers"],
        vision["width"], vision.get("patch_px"), text["context_length"], text["vocabulary_size"], text["width"],
        text["heads"], text["layers"],
    ).float())  # fmt: skip
    save_features(folder / "released.npz", model.encode_image(images), model.encode_text(tokens))
    torch.save(model.state_dict(), folder / "checkpoint")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old, and what is traced depends on no value
        if "blocks" not in vision or vision["width"] == 64:  # the larger ones take long to trace
            torch.jit.trace(model, (images, tokens), check_trace=False).save(str(folder / "archive"))
    if "blocks" in vision:
        features = functional.normalize(model.train().encode_image(images), dim=-1)
        running = np.concatenate([one.numpy() for name, one in model.state_dict().items() if "running_" in name])
        np.savez(folder / "released_training.npz", images=features.numpy(), running=running)


@torch.no_grad()
def transformers(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """transformers' CLIPModel, saved as it saves itself: a folder of config.json and model.safetensors."""
    from transformers import CLIPConfig, CLIPModel

    config = settings["config"]
    vision, text = config["vision"], config["text"]
    last_id = text["vocabulary_size"] - 1
    model = shake(CLIPModel(CLIPConfig(
        projection_dim=config["embed_dim"],
        vision_config={
            "hidden_size": vision["width"], "intermediate_size": 4 * vision["width"], "image_size": vision["image_px"],
            "num_hidden_layers": vision["layers"], "num_attention_heads": vision["heads"],
            "patch_size": vision["patch_px"], "projection_dim": config["embed_dim"],
        },
        text_config={
            "hidden_size": text["width"], "intermediate_size": 4 * text["width"], "vocab_size": last_id + 1,
            "num_hidden_layers": text["layers"], "num_attention_heads": text["heads"], "eos_token_id": last_id,
            "bos_token_id": last_id - 1, "max_position_embeddings": text["context_length"],
            "projection_dim": config["embed_dim"],
        },
    )))  # fmt: skip
    found = model(input_ids=tokens, pixel_values=images)
    save_features(folder / "transformers.npz", found.image_embeds, found.text_embeds)
    model.save_pretrained(folder / "checkpoint")


@torch.no_grad()
def open_clip(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """open_clip, as its training saves it: {"state_dict": {"module.NAME": ...}} beside other facts."""
    import open_clip as package

    model = shake(package.create_model(settings["open_clip"]))
    save_features(folder / "open_clip.npz", model.encode_image(images), model.encode_text(tokens))
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "name": "a run", "state_dict": state}, folder / "training.pt")


@torch.no_grad()
def to_open_clip(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """open_clip with the weights that we wrote."""
    import open_clip as package

    model = package.create_model(settings["open_clip"], pretrained=str(folder / "ours.safetensors")).eval()
    save_features(folder / "to_open_clip.npz", model.encode_image(images), model.encode_text(tokens))


@torch.no_grad()
def open_clip_folder(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """open_clip's model with the exact GELU, as it goes to a hub: its description and open_clip_model.safetensors."""
    import open_clip as package
    from open_clip.push_to_hf_hub import save_config_for_hf
    from safetensors.torch import save_file

    name = settings["open_clip"].removesuffix("-quickgelu")
    model = shake(package.create_model(name))
    save_features(folder / "open_clip_folder.npz", model.encode_image(images), model.encode_text(tokens))
    (folder / "checkpoint").mkdir()
    save_file(model.state_dict(), folder / "checkpoint" / "open_clip_model.safetensors")
    save_config_for_hf(model, folder / "checkpoint" / "open_clip_config.json", package.get_model_config(name))


@torch.no_grad()
def to_open_clip_folder(settings: Settings, images: torch.Tensor, tokens: torch.Tensor, folder: Path) -> None:
    """open_clip with a folder that we wrote."""
    import open_clip as package

    model = package.create_model(f"local-dir:{folder / 'ours'}").eval()
    save_features(folder / "to_open_clip_folder.npz", model.encode_image(images), model.encode_text(tokens))


PEERS = {
    "released": released,
    "transformers": transformers,
    "open_clip": open_clip,
    "open_clip_folder": open_clip_folder,
    "to_open_clip": to_open_clip,
    "to_open_clip_folder": to_open_clip_folder,
}

if __name__ == "__main__":
    main()
