"""The shapes of a model, found out from those of its tensors, as the released code does, and then held against them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from trainer.interchange.hints import Hints
from trainer.models.build import empty_model
from trainer.models.config import HEAD_WIDTH, RESNET_STRIDE, ClipConfig, ResNetConfig, TextConfig, VisionConfig
from trainer.saving.tensorfile import require_shapes
from wit.errors import InputError

Tensors = Mapping[str, Tensor]


def find_config(tensors: Tensors, hints: Hints, url: str) -> ClipConfig:
    """Return the shapes of a CLIP whose tensors have the released names; raises InputError when it is none."""
    projection = _shape(tensors, "text_projection", 2, url)
    is_resnet = "visual.layer1.0.conv1.weight" in tensors
    return ClipConfig(
        embed_dim=projection[1],
        vision=_find_resnet(tensors, hints, url) if is_resnet else _find_vit(tensors, hints, url),
        text=_find_text(tensors, hints, url),
        activation=hints.activation or "quick_gelu",
        objective="sigmoid" if "logit_bias" in tensors else "contrastive",
    )


def _find_vit(tensors: Tensors, hints: Hints, url: str) -> VisionConfig:
    width, _, patch_px, _ = _shape(tensors, "visual.conv1.weight", 4, url)
    grid = _grid(tensors, "visual.positional_embedding", url)
    layers = _count(tensors, "visual.transformer.resblocks.")
    heads = hints.image_heads or _heads(width, "visual.conv1.weight", url)
    return VisionConfig(grid * patch_px, patch_px, width, layers, heads)


def _find_resnet(tensors: Tensors, hints: Hints, url: str) -> ResNetConfig:
    width = _shape(tensors, "visual.layer1.0.conv1.weight", 4, url)[0]
    one, two, three, four = (_count(tensors, f"visual.layer{stage}.") for stage in (1, 2, 3, 4))
    grid = _grid(tensors, "visual.attnpool.positional_embedding", url)
    heads = hints.image_heads or _heads(width * RESNET_STRIDE, "visual.layer1.0.conv1.weight", url)
    return ResNetConfig(grid * RESNET_STRIDE, width, (one, two, three, four), heads)


def _find_text(tensors: Tensors, hints: Hints, url: str) -> TextConfig:
    vocabulary_size, width = _shape(tensors, "token_embedding.weight", 2, url)
    layers = _count(tensors, "transformer.resblocks.")
    if not layers:
        return TextConfig(width, layers=0, heads=1, vocabulary_size=vocabulary_size, kind="bag_of_words")
    context_length = _shape(tensors, "positional_embedding", 2, url)[0]
    heads = hints.text_heads or _heads(width, "token_embedding.weight", url)
    return TextConfig(width, layers, heads, context_length, vocabulary_size)


def _shape(tensors: Tensors, name: str, ndim: int, url: str) -> tuple[int, ...]:
    if name not in tensors:
        raise InputError(f"{url}: expected {name}, as checkpoints of CLIP have it, found none; it is another model's")
    shape = tuple(tensors[name].shape)
    if len(shape) != ndim or 0 in shape:
        raise InputError(f"{url}: expected {name} with {ndim} axes, found the shape {shape}; it is another model's")
    return shape


def _grid(tensors: Tensors, name: str, url: str) -> int:
    places = _shape(tensors, name, 2, url)[0] - 1
    grid = math.isqrt(places)
    if grid == 0 or grid**2 != places:
        raise InputError(f"{url}: expected {name} for a square and one place more, found {places + 1} places")
    return grid


def _count(tensors: Tensors, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})


def _heads(width: int, name: str, url: str) -> int:
    if width % HEAD_WIDTH:
        raise InputError(
            f"{url}: expected a width of whole heads of {HEAD_WIDTH}, found {width} ({name}); "
            "only a description beside the file can say how many heads there are"
        )
    return width // HEAD_WIDTH


def check_tensors(tensors: Tensors, config: ClipConfig, url: str) -> None:
    """Raise InputError unless the tensors are, by name and shape, those of a model of these shapes, and numbers."""
    for kind, width, heads in (
        ("image", getattr(config.vision, "feature_width", config.vision.width), config.vision.heads),
        ("text", config.text.width, config.text.heads),
    ):
        if heads < 1 or width % heads:
            raise InputError(f"{url}: expected heads that divide the {kind} tower's width {width}, found {heads}")
    if _num_blocks(config) > len(tensors):  # before a model of so many is built
        raise InputError(f"{url}: expected {_num_blocks(config)} blocks, found {len(tensors)} tensors in all")
    try:
        expected = empty_model(config).state_dict()
    except (RuntimeError, TypeError) as error:  # torch's, for more numbers than can be counted
        raise InputError(f"{url}: expected the shapes of a model, found {config}") from error
    require_shapes(tensors, expected, url)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != expected[name].is_floating_point() or tensor.is_complex():
            raise InputError(f"{url}: expected {name} in {expected[name].dtype}, found {tensor.dtype}; convert it")
        if tensor.is_floating_point() and not all(each.isfinite() for each in tensor.aminmax()):
            raise InputError(f"{url}: expected finite numbers, found others in {name}; take an earlier checkpoint")


def _num_blocks(config: ClipConfig) -> int:
    vision = config.vision
    return config.text.layers + (sum(vision.blocks) if isinstance(vision, ResNetConfig) else vision.layers)
