"""What a detector's recipe says: one frozen dataclass a section; the paper's values (appendix C) where it gives any."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.detector.edits import Edits
from trainer.detector.model import CONFIGS
from trainer.recipe import Optimiser, Run
from wit.errors import RecipeError
from wit.recipe import load

_OF_OTHERS = {"pack_text", "checkpoint_blocks", "compile", "parallel", "ema_decay", "text_weights"}
"""Keys of [run] and [optimiser] that only `wit train` follows."""
TEMPERATURE = 0.07  # fixed, the paper's


def _set(default: Any, about: str, **rules: Any) -> Any:
    return field(default=default, metadata={"help": about, **rules})


@dataclass(frozen=True)
class Model:
    """Section [model]."""

    name: str = _set("resnet50", "shapes of the network", choices=tuple(CONFIGS))


@dataclass(frozen=True)
class Data:
    """Section [data]."""

    batch_size: int = _set(1_712, "pictures a step, each with its edited copy", min=2)
    micro_batch_size: int = _set(
        0, "images in the network at once, twice through it then: less memory, the same gradients; 0: all", min=0
    )
    picture_px: int = _set(
        0, "short side of the pictures that edits are made from; 0: three times the network's", min=0, max=4096
    )
    held_out_share: float = _set(0.02, "of the pictures, kept apart to measure with", min=0, max=0.5)
    max_held_out: int = _set(2_000, "pictures kept apart at most: each is compared with each", min=2, max=10_000)
    num_threads: int = _set(2, "threads that read, decode and edit", min=1, max=1024, identity=False)
    prefetch_batches: int = _set(3, "batches made ahead", min=1, max=1024, identity=False)
    cache_mb: int = _set(0, "memory for decoded pictures, so that later epochs decode less", min=0, identity=False)


@dataclass(frozen=True)
class DetectorRecipe:
    """A whole recipe; [optimiser] and [run] are those of `wit train`."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    edits: Edits = field(default_factory=Edits)
    optimiser: Optimiser = field(default_factory=Optimiser)
    run: Run = field(default_factory=Run)

    @property
    def image_px(self) -> int:
        """Side of the squares that the network is shown."""
        return CONFIGS[self.model.name].image_px

    @property
    def picture_px(self) -> int:
        """Short side of the pictures that edits are made from."""
        return self.data.picture_px or 3 * self.image_px


def load_detector_recipe(path: str, overrides: tuple[str, ...] = ()) -> DetectorRecipe:
    """Return the recipe in a TOML file after `section.key=value` overrides; raises RecipeError."""
    recipe = load(path, DetectorRecipe, overrides)
    if recipe.optimiser.beta1 == 1 or recipe.optimiser.beta2 == 1:
        raise RecipeError(f"{path}: optimiser: expected beta1 and beta2 below 1, found 1")
    for section, usual in ((recipe.run, Run()), (recipe.optimiser, Optimiser())):
        for key in _OF_OTHERS & asdict(usual).keys():
            if getattr(section, key) != getattr(usual, key):
                raise RecipeError(f"{path}: {key}: expected {getattr(usual, key)!r}, as a detector has no use for it")
    if recipe.run.precision == "fp16":
        raise RecipeError(f"{path}: run.precision: expected fp32 or bf16 for a detector, found fp16")
    if recipe.picture_px < recipe.image_px:
        raise RecipeError(
            f"{path}: data.picture_px: expected at least the network's {recipe.image_px} px, found {recipe.picture_px}"
        )
    return recipe
