"""Transformer captioning. Shapes: B batch, L length in tokens, P prefix, V vocabulary."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.models.baselines import CAPTIONS, END, START, VOCABULARY, assert_gradients, make_images, make_tokens
from trainer.models.build import build_model, empty_model
from trainer.models.captioner import PREFIX_TOKENS, Captioner
from trainer.models.config import CONFIGS, ClipConfig
from trainer.models.packing import pack


def _config(name: str = "ViT-micro/16") -> ClipConfig:
    config = CONFIGS[name]
    return replace(config, text=replace(config.text, vocabulary_size=VOCABULARY), objective="captioning")


def _model(seed: int = 0) -> Captioner:
    model = build_model(_config(), seed)
    assert isinstance(model, Captioner)
    return model


captions = st.lists(st.lists(st.integers(0, START - 1), max_size=8), min_size=1, max_size=4)


def test_a_prefix_is_no_view() -> None:
    """FSDP, which hooks onto what a method returns, would warn of a view at every step; its numbers are the layer's."""
    model, images = _model(), make_images(3)
    prefix_BPW = model.encode_prefix(images)
    assert not prefix_BPW._is_view()
    assert torch.equal(prefix_BPW.flatten(1), model.prefix(model.visual(images)))


def test_the_loss_is_the_mean_over_a_captions_tokens() -> None:
    """Each row's loss and hits equal those of its caption alone, predicted token by token from what precedes."""
    model = _model()
    images, tokens_BL = make_images(4), make_tokens(CAPTIONS, 9)
    loss_B, hit_B = (row.detach() for row in model(images, tokens_BL))
    for row, caption in enumerate(CAPTIONS):
        written = [START, *caption, END]
        prefix_1PW = model.encode_prefix(images[row : row + 1]).detach()
        surprises, hits = [], []
        for place in range(1, len(written)):
            read = torch.tensor([written[: place + 1]])
            p_V = model.predict_tokens(prefix_1PW, read)[0, -1].softmax(dim=0).detach()
            surprises.append(-p_V[written[place]].log())
            hits.append(int(p_V.argmax()) == written[place])
        assert float(loss_B[row]) == pytest.approx(float(torch.stack(surprises).mean()), abs=1e-5)
        assert float(hit_B[row]) == pytest.approx(sum(hits) / len(hits))
        likelihood = model.log_likelihoods(prefix_1PW, tokens_BL[row : row + 1])
        assert likelihood.item() == pytest.approx(-float(torch.stack(surprises).sum()), abs=1e-4)


def test_a_token_is_predicted_from_the_image_and_from_what_precedes_it_only() -> None:
    """Another token at a place changes no prediction up to it, and those after it; another image changes all."""
    model = _model()
    images, tokens_BL = make_images(2), make_tokens([[5, 6, 7, 8]], 6)
    one = model.predict_tokens(model.encode_prefix(images[:1]), tokens_BL)[0]
    changed = tokens_BL.clone()
    changed[0, 3] = 20
    other = model.predict_tokens(model.encode_prefix(images[:1]), changed)[0]
    torch.testing.assert_close(one[:3], other[:3], rtol=0, atol=1e-6)
    assert not torch.allclose(one[3:], other[3:], atol=1e-4)
    third = model.predict_tokens(model.encode_prefix(images[1:]), tokens_BL)[0]
    assert bool(((third - one).abs().amax(dim=1) > 1e-4).all())


@given(captions, st.integers(0, 5), st.integers(0, START - 1))
def test_padding_has_no_influence(captions: list[list[int]], extra: int, padding: int) -> None:
    """However much padding follows, and whatever its ids, the rows' losses and hits are the same to 1e-6."""
    model, images = _model(), make_images(len(captions))
    one = model(images, make_tokens(captions, 10))
    other = model(images, make_tokens(captions, 10 + extra, padding))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@settings(deadline=None)
@given(captions)
def test_packed_captions_give_the_same_losses_and_gradients(captions: list[list[int]]) -> None:
    """Without padding, losses, hits and every gradient are those with padding, to 1e-5."""
    model, images = _model(), make_images(len(captions))
    tokens_BL = make_tokens(captions, 10)
    results = []
    for packing in (None, pack(tokens_BL.numpy())):
        model.zero_grad()
        loss_B, hit_B = model(images, tokens_BL, packing)
        loss_B.sum().backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        results.append({"loss": loss_B.detach(), "hits": hit_B, **gradients})
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-5, atol=1e-5, msg=name)


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Every parameter's gradient along a random direction equals the central difference."""
    model, images, tokens = _model().double(), make_images(4).double(), make_tokens(CAPTIONS, 9)
    assert_gradients(model, lambda: model(images, tokens)[0].sum())


def test_the_language_model_has_the_papers_size() -> None:
    """Beside the image tower and the prefix, 63,165,952 parameters: the paper's 63 million, its text tower's count."""
    model = empty_model(replace(CONFIGS["ViT-B/32"], objective="captioning"))
    rest = [value for name, value in model.named_parameters() if not name.startswith(("visual.", "prefix."))]
    assert sum(value.numel() for value in rest) == 63_165_952
    assert model.get_parameter("prefix.weight").shape == (PREFIX_TOKENS * 512, 512)


def test_the_loss_is_computed_in_fp32() -> None:
    """Under autocast to bf16 the rows' losses are fp32, within 1 % of those without it, and not numbers of bf16."""
    model, images, tokens = _model(), make_images(4), make_tokens(CAPTIONS, 9)
    with torch.autocast("cpu", torch.bfloat16):
        loss_B, _ = model(images, tokens)
    assert loss_B.dtype == torch.float32
    torch.testing.assert_close(loss_B, model(images, tokens)[0], rtol=1e-2, atol=0)
    assert not torch.equal(loss_B, loss_B.bfloat16().float())
