from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from trainer.models.config import CONFIGS, config_from_json, model_config
from wit.errors import RecipeError

PAPER = {  # the paper's Tables 18-20: embedding, px, image tower, its width and heads, the text tower's width and heads
    "RN50": (1024, 224, (3, 4, 6, 3), 2048, 32, 512, 8),
    "RN101": (512, 224, (3, 4, 23, 3), 2048, 32, 512, 8),
    "RN50x4": (640, 288, (4, 6, 10, 6), 2560, 40, 640, 10),
    "RN50x16": (768, 384, (6, 8, 18, 8), 3072, 48, 768, 12),
    "RN50x64": (1024, 448, (3, 15, 36, 10), 4096, 64, 1024, 16),
    "ViT-B/32": (512, 224, 12, 768, 12, 512, 8),
    "ViT-B/16": (512, 224, 12, 768, 12, 512, 8),
    "ViT-L/14": (768, 224, 24, 1024, 16, 768, 12),
    "ViT-L/14@336px": (768, 336, 24, 1024, 16, 768, 12),
}


@pytest.mark.parametrize("name", PAPER)
def test_shapes_are_those_of_the_papers_tables(name: str) -> None:
    """Every number of Tables 18-20 is that of the model of this name; text towers are 12 deep and read 77 tokens."""
    config = CONFIGS[name]
    vision, text = config.vision, config.text
    tower = getattr(vision, "blocks", None) or getattr(vision, "layers", None)
    width = getattr(vision, "feature_width", vision.width)
    found = (config.embed_dim, vision.image_px, tower, width, vision.heads, text.width, text.heads)
    assert found == PAPER[name]
    assert (text.layers, text.context_length, text.vocabulary_size) == (12, 77, 49_408)


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_survive_json(name: str) -> None:
    """What is written of a model's shapes is read again, every kind and objective."""
    for text, objective in (("transformer", "captioning"), ("bag_of_words", "sigmoid")):
        config = replace(model_config(name, 700, text, objective), activation="gelu")
        assert config_from_json(json.loads(json.dumps(asdict(config)))) == config


def test_shapes_from_before_there_were_kinds_are_read() -> None:
    """JSON without the activation, the objective and the kind of text tower means CLIP's own."""
    facts = asdict(CONFIGS["ViT-B/32"])
    del facts["activation"], facts["objective"], facts["text"]["kind"]
    assert config_from_json(facts) == CONFIGS["ViT-B/32"]


@pytest.mark.parametrize(
    "change",
    [
        {"vision": None}, {"vision": "ab"}, {"vision": [["a", 1]]}, {"vision": {}}, {"text": 3}, {"embed_dim": "32"},
        {"embed_dim": True}, {"embed_dim": -1}, {"activation": "relu"}, {"objective": "none"}, {"more": 1},
        {"vision": {"image_px": 64, "width": 4, "blocks": 3, "heads": 2}},
        {"vision": {"image_px": 64, "width": 4, "blocks": [1, 1.5, 1, 1], "heads": 2}},
    ],
)  # fmt: skip
def test_other_facts_are_told_apart(change: dict[str, Any]) -> None:
    """Facts of another form raise what their reader turns into an error for the user."""
    with pytest.raises((LookupError, TypeError)):
        config_from_json(asdict(CONFIGS["RN-micro"]) | change)


def test_a_model_that_there_is_not_is_a_users_mistake() -> None:
    """A misspelt model is answered with the names there are; a bag of words writes no captions."""
    with pytest.raises(RecipeError, match=r"ViT-B/32.*found 'ViT-B32'"):
        model_config("ViT-B32", 49_408)
    with pytest.raises(RecipeError, match=r"model\.text: expected transformer with the objective captioning"):
        model_config("ViT-B/32", 49_408, text="bag_of_words", objective="captioning")
