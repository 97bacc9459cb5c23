from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

import pytest

from trainer.models.config import CONFIGS
from trainer.models.flops import dense_flops
from trainer.optim.schedule import learning_rate
from trainer.recipe import TrainRecipe, load_recipe

FOLDER = resources.files("trainer") / "recipes"
RECIPES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.startswith("clip-"))
NUM_PAIRS = 400_000_000  # paper, section 2.2


@dataclass(frozen=True)
class Paper:
    """A row of the paper's Tables 18-20, and its zero-shot accuracy on ImageNet (Table 11)."""

    model: str
    learning_rate: float
    is_resnet: bool
    accuracy: str
    num_epochs: int = 32


PAPER = {
    "clip-rn50.toml": Paper("RN50", 5e-4, True, "59.6 %"),
    "clip-rn101.toml": Paper("RN101", 5e-4, True, "62.2 %"),
    "clip-rn50x4.toml": Paper("RN50x4", 5e-4, True, "65.8 %"),
    "clip-rn50x16.toml": Paper("RN50x16", 4e-4, True, "70.5 %"),
    "clip-rn50x64.toml": Paper("RN50x64", 3.6e-4, True, "73.6 %"),
    "clip-vit-b32.toml": Paper("ViT-B/32", 5e-4, False, "63.2 %"),
    "clip-vit-b16.toml": Paper("ViT-B/16", 5e-4, False, "68.6 %"),
    "clip-vit-l14.toml": Paper("ViT-L/14", 4e-4, False, "75.3 %"),
    "clip-vit-l14-336.toml": Paper("ViT-L/14@336px", 2e-5, False, "76.2 %", num_epochs=1),
}


def _load(name: str) -> tuple[TrainRecipe, str]:
    """Return a recipe and the text that it opens with."""
    path = FOLDER / name
    return load_recipe(str(path)), path.read_text().partition("\n[")[0]


def test_each_of_the_papers_models_has_a_recipe() -> None:
    """Nine models, nine recipes, and no other calls itself CLIP's."""
    assert sorted(PAPER) == RECIPES
    assert len({paper.model for paper in PAPER.values()}) == 9


@pytest.mark.parametrize("name", RECIPES)
def test_hyper_parameters_are_the_papers(name: str) -> None:
    """Tables 18-20: the rate by model, beta2 and epsilon by family; the batch, the epochs, the decay for all."""
    paper, (recipe, _) = PAPER[name], _load(name)
    optimiser = recipe.optimiser
    assert (recipe.model.name, optimiser.learning_rate) == (paper.model, paper.learning_rate)
    family = (0.999, 1e-8) if paper.is_resnet else (0.98, 1e-6)
    assert (optimiser.beta2, optimiser.epsilon) == family
    assert (optimiser.beta1, optimiser.weight_decay, optimiser.warmup_steps) == (0.9, 0.2, 2_000)
    assert (recipe.data.batch_size, recipe.run.epochs) == (32_768, paper.num_epochs)
    assert bool(recipe.model.start_from) == (paper.num_epochs == 1)


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_says_it_takes_is_so(name: str) -> None:
    """Samples, steps, GFLOP a sample and the total follow from the model, the batch and the epochs."""
    paper, (recipe, opening) = PAPER[name], _load(name)
    told = re.search(
        r"([\d.]+ [mb]illion) samples in ([\d,]+) steps; about ([\d,]+) training GFLOP a sample, ([\d.e]+) in all",
        opening,
    )
    assert told, opening
    num_samples = recipe.run.epochs * NUM_PAIRS
    number, unit = told[1].split()
    assert float(number) * {"million": 1e6, "billion": 1e9}[unit] == num_samples
    assert int(told[2].replace(",", "")) == num_samples // recipe.data.batch_size
    flops = dense_flops(CONFIGS[recipe.model.name])
    assert told[3] == f"{flops / 1e9:,.0f}"
    assert told[4] == f"{flops * num_samples:.1e}".replace("e+", "e")
    assert paper.accuracy in opening


@pytest.mark.parametrize("name", RECIPES)
def test_a_micro_batch_divides_the_batch(name: str) -> None:
    """So that every micro-batch has as many rows as the recipe says, on one GPU and on any power of two of them."""
    data = _load(name)[0].data
    assert data.batch_size % data.micro_batch_size == 0
    assert data.micro_batch_size & (data.micro_batch_size - 1) == 0


def test_the_last_epoch_begins_where_the_first_ones_ended() -> None:
    """The recipe for 336 px starts from the folder that the one for 224 px writes, and ends at a rate of 0."""
    recipe, opening = _load("clip-vit-l14-336.toml")
    out = re.search(r"--out (\S+)", _load("clip-vit-l14.toml")[1])
    assert out
    assert recipe.model.start_from == out[1]
    assert f"--set model.start_from={out[1]}" in opening
    num_steps = NUM_PAIRS // recipe.data.batch_size
    assert learning_rate(2_000, num_steps, recipe.optimiser) == pytest.approx(2e-5)
    assert learning_rate(num_steps, num_steps, recipe.optimiser) == pytest.approx(0.0)


@pytest.mark.parametrize("name", RECIPES)
def test_memory_that_the_paper_saved_can_be_saved(name: str) -> None:
    """The overrides that a recipe's opening names, for fp16 throughout, are ones that it takes."""
    opening = _load(name)[1]
    sets = re.findall(r"--set ((?:optimiser|run)\S+)", opening)
    if PAPER[name].num_epochs == 32:
        assert len(sets) == 4
    recipe = load_recipe(str(FOLDER / name), tuple(sets))
    assert recipe.optimiser.state == ("fp16" if sets else "fp32")
