from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.interchange.hints import Hints, read_hints
from trainer.interchange.writing import open_clip_config
from trainer.models.config import CONFIGS
from wit.errors import InputError

PLAIN: dict[str, Any] = json.loads(json.dumps(open_clip_config(CONFIGS["ViT-B/32"])))


def changed(section: str, **values: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(json.dumps(PLAIN))
    (facts["model_cfg"] if section == "model_cfg" else facts["model_cfg"].get(section, facts.get(section))).update(
        values
    )
    return facts


def read(folder: Path, facts: Any, layout: str = "open_clip") -> Hints:
    name = {"open_clip": "open_clip_config.json", "transformers": "config.json"}[layout]
    (folder / name).write_text(json.dumps(facts))
    return read_hints(str(folder / "weights.safetensors"), layout)


@pytest.mark.parametrize("name", ["ViT-B/32", "ViT-L/14", "RN50", "RN50x64", "ViT-tiny/8", "RN-micro"])
def test_what_we_describe_is_understood(name: str, tmp_path: Path) -> None:
    """The description that we write of a model says its activation and heads."""
    config = CONFIGS[name]
    wanted = Hints("quick_gelu", config.vision.heads, config.text.heads)
    assert read(tmp_path, open_clip_config(config)) == wanted


def test_open_clips_models_are_gelu_unless_they_say_otherwise(tmp_path: Path) -> None:
    """A description without `quick_gelu` means the exact one; keys that say nothing new are passed over."""
    facts = {
        "model_cfg": {
            "embed_dim": 512,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32, "pool_type": "tok"},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12,
                         "hf_tokenizer_name": None, "no_causal_mask": False},
        }
    }  # fmt: skip
    assert read(tmp_path, facts) == Hints("gelu", 12, 8)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (changed("text_cfg", no_causal_mask=True), r"text_cfg\.no_causal_mask = True"),
        (changed("text_cfg", pool_type="last"), r"text_cfg\.pool_type = 'last'"),
        (changed("text_cfg", hf_tokenizer_name="bert"), r"text_cfg\.hf_tokenizer_name = 'bert'"),
        (changed("text_cfg", act_kwargs={"approximate": "tanh"}), r"text_cfg\.act_kwargs"),
        (changed("vision_cfg", final_ln_after_pool=True), r"vision_cfg\.final_ln_after_pool"),
        (changed("vision_cfg", timm_model_name="vit"), r"vision_cfg\.timm_model_name = 'vit'"),
        (changed("model_cfg", multimodal_cfg={"width": 3}), r"model_cfg\.multimodal_cfg"),
        (changed("preprocess_cfg", mean=[0.5, 0.5, 0.5]), r"mean = .*, found \[0\.5"),
        (changed("preprocess_cfg", resize_mode="squash"), r"resize_mode = shortest, found squash"),
        (changed("vision_cfg", head_width=0), "expected the description of a CLIP"),
        ({"model_cfg": {}}, "expected the description of a CLIP"),
        ({"model_cfg": 3}, "expected the description of a CLIP"),
        ([], "expected a manifest"),
    ],
)
def test_other_models_are_refused(facts: Any, message: str, tmp_path: Path) -> None:
    """A deviation from CLIP that leaves the shapes alone is refused by name, and so is what describes nothing."""
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, facts)
    assert str(caught.value).startswith(str(tmp_path / "open_clip_config.json"))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"vision_config": {"hidden_act": "gelu"}}, r"one hidden_act .*found \['gelu', 'quick_gelu'\]"),
        ({"vision_config": {"hidden_act": "relu"}, "text_config": {"hidden_act": "relu"}}, r"found \['relu'\]"),
        ({"text_config": {"layer_norm_eps": 1e-6}}, "layer_norm_eps"),
        ({"text_config": 3}, "expected the description of a CLIP"),
    ],
)
def test_transformers_descriptions_are_checked(facts: Any, message: str, tmp_path: Path) -> None:
    """Two activations, an unknown one and another epsilon are refused."""
    with pytest.raises(InputError, match=message):
        read(tmp_path, facts, "transformers")


def test_nothing_beside_says_nothing(tmp_path: Path) -> None:
    """Without a file beside the weights there are no hints; transformers' defaults fill its own gaps."""
    assert read_hints(str(tmp_path / "weights.pt"), "open_clip") == Hints()
    assert read(tmp_path, {}, "transformers") == Hints("quick_gelu")
