"""What a training recipe says: one frozen dataclass a section, values of the paper (arXiv 2103.00020) as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainer.models.config import CONFIGS, VOCABULARY_SIZE
from wit.errors import RecipeError
from wit.recipe import load


def _set(default: Any, about: str, **rules: Any) -> Any:
    return field(default=default, metadata={"help": about, **rules})


@dataclass(frozen=True)
class Model:
    """Section [model]."""

    name: str = _set("ViT-B/32", "shapes of the two towers", choices=tuple(CONFIGS))


@dataclass(frozen=True)
class Tokenizer:
    """Section [tokenizer]."""

    merges: str = _set("", "merges file, such as bpe_simple_vocab_16e6.txt.gz; empty: trained from the captions")
    vocabulary_size: int = _set(
        VOCABULARY_SIZE, "most ids of a vocabulary trained from the captions", min=514, max=1 << 24
    )


@dataclass(frozen=True)
class Data:
    """Section [data]."""

    batch_size: int = _set(32_768, "pairs a step", min=2)
    resize_px: int = _set(
        0, "short side of a picture before the random square is cut out; 0: the side of the square", min=0, max=4096
    )
    decode: str = _set("exact", "draft: JPEGs scaled while they are decoded; faster", choices=("exact", "draft"))
    num_threads: int = _set(2, "threads that read and decode", min=1, max=1024, identity=False)
    prefetch_batches: int = _set(3, "batches made ahead", min=1, max=1024, identity=False)
    cache_mb: int = _set(0, "memory for decoded images, so that later epochs decode less", min=0, identity=False)


@dataclass(frozen=True)
class Optimiser:
    """Section [optimiser]: AdamW, cosine decay to 0 after a linear warm-up."""

    learning_rate: float = _set(5e-4, "peak", min=0)
    beta1: float = _set(0.9, "decay of the mean gradient", min=0, max=1)
    beta2: float = _set(0.98, "decay of the mean squared gradient (ResNets: 0.999)", min=0, max=1)
    epsilon: float = _set(1e-6, "added to the root mean square (ResNets: 1e-8)", min=1e-12)
    weight_decay: float = _set(0.2, "decoupled; not on gains and biases", min=0)
    warmup_steps: int = _set(2_000, "steps of the linear warm-up", min=0)
    max_gradient_norm: float = _set(0.0, "gradients are scaled down to this norm; 0: never", min=0)


@dataclass(frozen=True)
class Run:
    """Section [run]."""

    epochs: int = _set(32, "times the pairs are seen; sets the length of the cosine", min=1)
    seed: int = _set(0, "of the initial weights, the order and the crops", min=0, max=(1 << 63) - 1)
    precision: str = _set("fp32", "of the products; the loss is fp32 either way", choices=("fp32", "bf16"))
    save_every_steps: int = _set(1_000, "steps between checkpoints", min=1, identity=False)
    keep_checkpoints: int = _set(2, "newest checkpoints that stay", min=1, identity=False)
    log_every_steps: int = _set(50, "steps between lines of the log", min=1, identity=False)


@dataclass(frozen=True)
class TrainRecipe:
    """A whole recipe."""

    model: Model = field(default_factory=Model)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    run: Run = field(default_factory=Run)


def load_recipe(path: str, overrides: tuple[str, ...] = ()) -> TrainRecipe:
    """Return the recipe in a TOML file after `section.key=value` overrides; raises RecipeError."""
    recipe = load(path, TrainRecipe, overrides)
    if recipe.optimiser.beta1 == 1 or recipe.optimiser.beta2 == 1:
        raise RecipeError(f"{path}: optimiser: expected beta1 and beta2 below 1, found 1")
    return recipe
