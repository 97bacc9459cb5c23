from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.models.build import build_model
from trainer.models.config import CONFIGS, ClipConfig
from trainer.models.identity import fingerprint

MICRO = CONFIGS["ViT-micro/16"]


@pytest.mark.parametrize(
    "other",
    [
        replace(MICRO, activation="gelu"),
        replace(MICRO, vision=replace(MICRO.vision, heads=1)),
        replace(MICRO, text=replace(MICRO.text, heads=1)),
    ],
)
def test_equal_weights_that_are_used_otherwise_are_another_model(other: ClipConfig) -> None:
    """Activation and heads change what a model says without a change of its weights: features must not be shared."""
    model, twin = build_model(MICRO, 0), build_model(other, 0)
    twin.load_state_dict(model.state_dict())
    assert fingerprint(twin) != fingerprint(model)


def test_a_weight_that_is_changed_is_another_model() -> None:
    """The same shapes with one other number; the same numbers are the same model."""
    model, twin = build_model(MICRO, 0), build_model(MICRO, 1)
    twin.load_state_dict(model.state_dict())
    assert fingerprint(twin) == fingerprint(model)
    next(twin.parameters()).data.view(-1)[0] += 1
    assert fingerprint(twin) != fingerprint(model)
