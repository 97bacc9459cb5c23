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
    text: str = _set(
        "transformer",
        "text tower; bag_of_words: the mean of the tokens' embeddings",
        choices=("transformer", "bag_of_words"),
    )
    start_from: str = _set("", "checkpoint whose weights the model begins with; positions are interpolated")
    patch_dropout: float = _set(0.0, "share of an image's patches left out in training (ViT)", min=0, max=0.95)


@dataclass(frozen=True)
class Tokenizer:
    """Section [tokenizer]."""

    merges: str = _set(
        "",
        "merges file, such as bpe_simple_vocab_16e6.txt.gz; installed: that of a package that carries it; "
        "empty: trained from the captions",
    )
    vocabulary_size: int = _set(
        VOCABULARY_SIZE, "most ids of a vocabulary trained from the captions", min=514, max=1 << 24
    )


@dataclass(frozen=True)
class Objective:
    """Section [objective]."""

    name: str = _set("contrastive", "what is learned", choices=("contrastive", "sigmoid", "bag_of_words", "captioning"))
    block_rows: int = _set(4_096, "rows of the similarity matrix in memory at once", min=1, identity=False)


@dataclass(frozen=True)
class Data:
    """Section [data]."""

    batch_size: int = _set(32_768, "pairs a step, of all ranks together", min=2)
    micro_batch_size: int = _set(
        0, "pairs of a rank in the network at once; less memory, the same gradients; 0: all", min=0, identity=False
    )
    resize_px: int = _set(
        0, "short side of a picture before the random square is cut out; 0: the side of the square", min=0, max=4096
    )
    decode: str = _set(
        "exact",
        "draft: JPEGs are decoded at twice the size that is needed, or less; fast: at 1.25 times",
        choices=("exact", "draft", "fast"),
    )
    block_samples: int = _set(1_024, "neighbours in a shard that are read together", min=1)
    window_samples: int = _set(1 << 18, "samples of blocks at random that are shuffled with one another", min=1)
    num_samples: int = _set(
        0, "train on shards without an index, that hold about so many pairs, while it is made; 0: they have one", min=0
    )
    num_threads: int = _set(2, "threads of a rank that read and decode", min=1, max=1024, identity=False)
    prefetch_batches: int = _set(3, "batches made ahead", min=1, max=1024, identity=False)
    cache_mb: int = _set(0, "memory for decoded images, so that later epochs decode less", min=0, identity=False)
    shard_cache: str = _set("", "folder for parts of remote shards; empty: under --out", identity=False)
    shard_cache_gb: float = _set(64.0, "most that the folder may hold", min=0.1, identity=False)


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
    state: str = _set(
        "fp32",
        "numbers in which the moments of weights are kept; halves are rounded stochastically",
        choices=("fp32", "bf16", "fp16"),
    )
    text_weights: str = _set(
        "fp32",
        "fp16: the text tower's weights are rounded stochastically to numbers of fp16 after each step",
        choices=("fp32", "fp16"),
    )


@dataclass(frozen=True)
class Run:
    """Section [run]."""

    epochs: int = _set(32, "times the pairs are seen; sets the length of the cosine", min=1)
    seed: int = _set(0, "of the initial weights, the order and the crops", min=0, max=(1 << 63) - 1)
    precision: str = _set("fp32", "of the products; the loss is fp32 in any case", choices=("fp32", "bf16", "fp16"))
    pack_text: bool = _set(False, "leave out the padding of captions: less work, the same result", identity=False)
    checkpoint_blocks: bool = _set(
        False, "compute activations again instead of keeping them: less memory, a third more work", identity=False
    )
    compile: bool = _set(False, "compile the towers with torch.compile", identity=False)
    parallel: str = _set(
        "ddp", "each rank holds the whole model, or (fsdp) a share of it", choices=("ddp", "fsdp"), identity=False
    )
    ema_decay: float = _set(0.0, "decay of a moving average of the weights, a step; 0: none", min=0, max=1)
    max_loss_rise: float = _set(
        0.0,
        "an update whose loss is this much above the running mean is left out; 0: only one that is not finite",
        min=0,
    )
    max_skipped_steps: int = _set(20, "updates left out in a row before training stops", min=0)
    save_every_steps: int = _set(1_000, "steps between checkpoints", min=1, identity=False)
    keep_checkpoints: int = _set(2, "newest checkpoints that stay", min=1, identity=False)
    keep_every_steps: int = _set(0, "checkpoints of multiples of this stay for good; 0: none", min=0, identity=False)
    log_every_steps: int = _set(50, "steps between lines of the log", min=1, identity=False)
    tensorboard: bool = _set(False, "write the numbers for TensorBoard too, under OUT/tensorboard", identity=False)
    wandb_project: str = _set("", "send the numbers to this project of Weights & Biases; empty: do not", identity=False)
    profile_steps: int = _set(
        0, "steps to trace with the profiler, after the first ten; 0: none", min=0, identity=False
    )


@dataclass(frozen=True)
class Evaluation:
    """Section [evaluation]: zero-shot accuracy while training."""

    data: tuple[str, ...] = _set(
        (), "sets of images, each [NAME=][FORMAT:]PATH as `wit evaluate --data`; none: do not evaluate", identity=False
    )
    classes: str = _set("", "as `wit evaluate --classes`", identity=False)
    by_order: bool = _set(False, "as `wit evaluate --by-order`", identity=False)
    templates: str = _set("", "as `wit evaluate --templates`", identity=False)
    every_steps: int = _set(0, "steps between evaluations; 0: at the end only", min=0, identity=False)


@dataclass(frozen=True)
class TrainRecipe:
    """A whole recipe."""

    model: Model = field(default_factory=Model)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    objective: Objective = field(default_factory=Objective)
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    run: Run = field(default_factory=Run)
    evaluation: Evaluation = field(default_factory=Evaluation)


def load_recipe(path: str, overrides: tuple[str, ...] = ()) -> TrainRecipe:
    """Return the recipe in a TOML file after `section.key=value` overrides; raises RecipeError."""
    recipe = load(path, TrainRecipe, overrides)
    if recipe.optimiser.beta1 == 1 or recipe.optimiser.beta2 == 1:
        raise RecipeError(f"{path}: optimiser: expected beta1 and beta2 below 1, found 1")
    return recipe
