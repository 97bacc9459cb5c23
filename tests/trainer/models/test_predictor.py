"""Bag-of-words prediction. Shapes: B batch, L length in tokens, V vocabulary."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.models.baselines import CAPTIONS, START, VOCABULARY, assert_gradients, make_images, make_tokens
from trainer.models.build import build_model
from trainer.models.config import CONFIGS, ClipConfig
from trainer.models.predictor import WordPredictor, word_shares


def _config(name: str = "ViT-micro/16") -> ClipConfig:
    config = CONFIGS[name]
    return replace(config, text=replace(config.text, vocabulary_size=VOCABULARY), objective="bag_of_words")


def _model(seed: int = 0, name: str = "ViT-micro/16") -> WordPredictor:
    model = build_model(_config(name), seed)
    assert isinstance(model, WordPredictor)
    return model


words = st.lists(st.lists(st.integers(0, START - 1), max_size=8), min_size=1, max_size=6)


@given(words)
def test_each_distinct_word_of_a_caption_has_an_equal_share(captions: list[list[int]]) -> None:
    """The shares that fall on a token's places add up to 1 / K for each of the K distinct words, to 0 for marks."""
    tokens_BL = make_tokens(captions, 12)
    for caption, tokens_L, shares_L in zip(captions, tokens_BL, word_shares(tokens_BL), strict=True):
        total = {int(token): 0.0 for token in tokens_L}
        for token, share in zip(tokens_L.tolist(), shares_L.tolist(), strict=True):
            total[token] += share
        expected = {word: 1 / len(set(caption)) for word in caption}
        assert total == pytest.approx({token: expected.get(token, 0.0) for token in total})


@pytest.mark.parametrize("name", ["ViT-micro/16", "RN-micro"])
def test_the_loss_is_cross_entropy_with_uniform_targets(name: str) -> None:
    """Each row's loss equals a loop over its distinct words; a caption without a word costs nothing."""
    model = _model(name=name).eval()
    images = make_images(4, model.config.vision.image_px)
    loss_B, hit_B = (row.detach() for row in model(images, make_tokens(CAPTIONS, 9)))
    p_BV = model.words(model.visual(images)).softmax(dim=1).detach()
    for caption, loss, hit, p_V in zip(CAPTIONS, loss_B, hit_B, p_BV, strict=True):
        distinct = set(caption)
        expected = -sum(math.log(p_V[word]) for word in distinct) / max(1, len(distinct))
        assert float(loss) == pytest.approx(expected, abs=1e-5)
        assert bool(hit) == (int(p_V.argmax()) in distinct)


@given(words, st.integers(0, 6), st.integers(0, VOCABULARY - 1))
def test_padding_has_no_influence(captions: list[list[int]], extra: int, padding: int) -> None:
    """However much padding follows, and whatever its ids, the rows' losses and hits are the same bits."""
    model, images = _model(), make_images(len(captions))
    one = model(images, make_tokens(captions, 10))
    other = model(images, make_tokens(captions, 10 + extra, padding))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Every parameter's gradient along a random direction equals the central difference."""
    model, images, tokens = _model().double(), make_images(4).double(), make_tokens(CAPTIONS, 9)
    assert_gradients(model, lambda: model(images, tokens)[0].sum())


def test_weights_follow_from_the_seed_and_the_tower_has_the_keys_of_a_clip() -> None:
    """Two builds of one seed agree; the image tower's keys are CLIP's, so that its weights can be taken over."""
    one, other, third = (_model(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(one["words.weight"], third["words.weight"])
    clip = build_model(replace(_config(), objective="contrastive"), 0).state_dict()
    assert {key for key in one if key.startswith("visual.")} == {key for key in clip if key.startswith("visual.")}
    assert {key for key in one if not key.startswith("visual.")} == {"words.weight", "words.bias"}


def test_the_loss_is_computed_in_fp32() -> None:
    """Under autocast to bf16 the rows' losses are fp32, within 1 % of those without it, and not numbers of bf16."""
    model, images, tokens = _model(), make_images(4), make_tokens(CAPTIONS, 9)
    with torch.autocast("cpu", torch.bfloat16):
        loss_B, _ = model(images, tokens)
    assert loss_B.dtype == torch.float32
    torch.testing.assert_close(loss_B, model(images, tokens)[0], rtol=1e-2, atol=0)
    assert not torch.equal(loss_B, loss_B.bfloat16().float())
