from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.trainer.detector.conftest import picture
from trainer.detector import edits as module
from trainer.detector.edits import Edits, edited, plain
from trainer.detector.recipe import DetectorRecipe, load_detector_recipe
from wit.errors import RecipeError
from wit.recipe import load

NOTHING = Edits(
    share=1.0, crop_area=1.0, max_aspect=1.0, scale=1.0, max_rotation=0.0, jpeg_quality=95, brightness=0.0, hue=0.0
)


@settings(max_examples=60)
@example(width=2, height=6, side=1, seed=5, strength=Edits(1.0, 0.05, 4.0, 0.02, 45.0, 1, 0.95, 0.5))
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    side=st.integers(1, 40),
    seed=st.integers(0, 1 << 40),
    strength=st.sampled_from([Edits(), Edits(1.0, 0.05, 4.0, 0.02, 45.0, 1, 0.95, 0.5), NOTHING]),
)
def test_any_picture_can_be_edited(width: int, height: int, side: int, seed: int, strength: Edits) -> None:
    """Down to one pixel and at the greatest strengths: a square of the right size, the same for the same seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = edited(pixels, side, strength, Random(seed))
    assert (found.shape, found.dtype) == ((side, side, 3), np.uint8)
    assert (found == edited(pixels, side, strength, Random(seed))).all()


def test_without_strength_an_edit_is_a_resize() -> None:
    """With all strengths at nothing, only JPEG at quality 95 and the last kernel are left: a few grey levels."""
    pixels = np.asarray(picture(1, 96, 64))
    for seed in range(20):
        difference = edited(pixels, 32, NOTHING, Random(seed)).astype(int) - plain(pixels, 32)
        assert np.abs(difference).mean() < 8


def test_seeds_give_different_edits() -> None:
    """Forty seeds, forty copies; and most of them are visibly not the original."""
    pixels = np.asarray(picture(2, 96, 64))
    copies = [edited(pixels, 32, Edits(), Random(seed)) for seed in range(40)]
    assert len({copy.tobytes() for copy in copies}) == 40
    moved = [np.abs(copy.astype(int) - plain(pixels, 32)).mean() for copy in copies]
    assert np.median(moved) > 8


def moments(strength: Edits, name: str) -> list[tuple[tuple[int, int], float]]:
    """Return (size, mean grey) of a kind of edit over 60 seeds, on a grey picture of 200 x 100."""
    from PIL import Image

    image = Image.new("RGB", (200, 100), (100, 100, 100))
    found = [getattr(module, name)(image, strength, Random(seed)) for seed in range(60)]
    return [(one.size, float(np.asarray(one).mean())) for one in found]


def test_each_kind_stays_within_its_strength() -> None:
    """Areas, aspects, scales, brightness: never beyond what the recipe says, and near it at times."""
    crops = [width * height / 20_000 for (width, height), _ in moments(replace(NOTHING, crop_area=0.5), "_crop")]
    assert 0.49 <= min(crops) < 0.55
    assert 0.95 < max(crops) <= 1
    aspects = [width / height / 2 for (width, height), _ in moments(replace(NOTHING, max_aspect=1.5), "_rescale")]
    assert 1 / 1.55 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.55
    widths = [width / 200 for (width, _), _ in moments(replace(NOTHING, scale=0.25), "_rescale")]
    assert 0.25 <= min(widths) < 0.4
    greys = [grey for _, grey in moments(replace(NOTHING, brightness=0.3), "_jitter")]
    assert 69 <= min(greys) < 80
    assert 120 < max(greys) <= 131
    turned = {size for size, _ in moments(replace(NOTHING, max_rotation=10.0), "_rotate")}
    assert (200, 100) in turned
    assert all(width >= 140 and height >= 60 for width, height in turned)


def test_kernels_are_many() -> None:
    """Resampling differs from seed to seed: filters that grow with the scale, and points that do not."""
    from PIL import Image

    texture = Image.fromarray(np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255)
    found = {module._resized(texture, (20, 20), Random(seed)).tobytes() for seed in range(200)}
    assert len(found) >= 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("edits.share=2", "edits.share: expected at most 1, found 2"),
        ("edits.crop_area=0", "edits.crop_area: expected at least 0.05, found 0"),
        ("edits.quality=3", "unknown key 'edits.quality'; did you mean 'jpeg_quality'?"),
        ("model.name=vit", "expected one of resnet50, small, micro"),
        ("data.picture_px=40", "data.picture_px: expected at least the network's 224 px, found 40"),
        ("optimiser.beta2=1", "expected beta1 and beta2 below 1"),
    ],
)
def test_recipes_that_cannot_be_are_refused(tmp_path: object, override: str, message: str) -> None:
    """A value out of range is a mistake of the recipe, told in one line."""
    with pytest.raises(RecipeError) as caught:
        load_detector_recipe(str(real_recipe()), (override,))
    assert message in str(caught.value)


def real_recipe() -> object:
    from importlib import resources

    return resources.files("trainer.detector") / "recipes" / "resnet50.toml"


def test_defaults_are_the_papers() -> None:
    """1,712 pictures a batch at a fixed temperature of 0.07 (appendix C), in the recipe and as defaults."""
    from trainer.detector.recipe import TEMPERATURE

    recipe = load_detector_recipe(str(real_recipe()))
    assert (recipe.model.name, recipe.data.batch_size, TEMPERATURE) == ("resnet50", 1_712, 0.07)
    assert DetectorRecipe().data.batch_size == 1_712
    assert load(None, DetectorRecipe) == DetectorRecipe()
