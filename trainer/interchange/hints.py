"""What the shapes of weights do not say, activation and heads: it stands in a file beside them, if at all.

open_clip's open_clip_config.json names every deviation of its models from CLIP's. One that we do not compute is refused
here, since its weights may well have the same names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.models.config import ACTIVATIONS
from trainer.models.inputs import IMAGE_MEAN, IMAGE_STD
from wit import manifest
from wit.errors import InputError
from wit.storage import base_name, exists

OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
_NORM_EPSILON = 1e-5

_NEUTRAL = {
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale",
                  "init_logit_bias"},
    "vision_cfg": {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout",
                   "output_tokens"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "output_tokens"},
}  # fmt: skip
"""Keys that change nothing but shapes, and those that are read here."""
_PLAIN = {
    "pool_type": ("tok", "argmax"),
    "proj_type": ("linear",),
    "pos_embed_type": ("learnable",),
    "text_arch": ("clip",),
    "block_type": ("default",),
}
"""Keys by which a model says that it is as CLIP is."""


@dataclass(frozen=True)
class Hints:
    """What a file beside the weights says; None: it does not."""

    activation: str | None = None
    image_heads: int | None = None
    text_heads: int | None = None


def read_hints(url: str, layout: str) -> Hints:
    """Return what the file beside weights of a layout ("open_clip", "transformers") says; raises InputError."""
    name, understand = {
        "open_clip": (OPEN_CLIP_CONFIG, _from_open_clip),
        "transformers": (TRANSFORMERS_CONFIG, _from_transformers),
    }[layout]
    beside = url.removesuffix(base_name(url)) + name
    if not exists(beside):
        return Hints()
    facts = manifest.read(beside)
    try:
        return understand(facts, beside)
    except (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{beside}: expected the description of a CLIP, found another: {error!r}") from error


def _from_open_clip(facts: Mapping[str, Any], url: str) -> Hints:
    model = facts["model_cfg"]
    vision, text = model["vision_cfg"], model["text_cfg"]
    for name, section in {"model_cfg": model, "vision_cfg": vision, "text_cfg": text}.items():
        _refuse_deviations(name, section, url)
    _check_preprocessing(facts.get("preprocess_cfg", {}), url)
    is_resnet = isinstance(vision["layers"], list)
    head_width = int(vision.get("head_width", 64))
    return Hints(
        activation="quick_gelu" if model.get("quick_gelu", False) else "gelu",
        image_heads=int(vision["width"]) * (32 if is_resnet else 1) // head_width,
        text_heads=int(text.get("heads", 8)),
    )


def _refuse_deviations(name: str, section: Mapping[str, Any], url: str) -> None:
    for key, value in section.items():
        is_plain = not value or value in _PLAIN.get(key, ())
        if key not in _NEUTRAL[name] and not is_plain:
            raise InputError(f"{url}: expected a model like CLIP's, found {name}.{key} = {value!r}, which it has not")


def _check_preprocessing(facts: Mapping[str, Any], url: str) -> None:
    wanted = {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD), "resize_mode": "shortest"}
    for key, value in wanted.items():
        if (found := facts.get(key, value)) != value:
            raise InputError(f"{url}: expected images prepared as CLIP's, {key} = {value}, found {found}")


def _from_transformers(facts: Mapping[str, Any], url: str) -> Hints:
    vision, text = facts.get("vision_config", {}), facts.get("text_config", {})
    activations = {one.get("hidden_act", "quick_gelu") for one in (vision, text)}
    if len(activations) > 1 or not activations <= set(ACTIVATIONS):
        raise InputError(f"{url}: expected one hidden_act of {', '.join(ACTIVATIONS)}, found {sorted(activations)}")
    if {one.get("layer_norm_eps", _NORM_EPSILON) for one in (vision, text)} != {_NORM_EPSILON}:
        raise InputError(f"{url}: expected layer_norm_eps = {_NORM_EPSILON}, found another")
    heads = (one.get("num_attention_heads") for one in (vision, text))
    return Hints(activations.pop(), *heads)
