from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.detector.test_model import MICRO, images, measured
from trainer.detector.measuring import FALSE_PAIRS, _threshold
from trainer.detector.whitening import SHRINKAGE, whiten, whitening


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(0, 999))
def test_whitened_embeddings_have_no_direction_of_their_own(size: int, seed: int) -> None:
    """The mean is 0; along each axis of the old variances the new one is v / (v + shrinkage), as the formula says."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((200, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)
    found = whitening(embeddings)
    assert found is not None
    shift, matrix = found
    whitened = (embeddings - shift) @ matrix
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-9)
    old, axes = np.linalg.eigh(np.cov(embeddings.T, bias=True).reshape(size, size))
    new = axes.T @ np.cov(whitened.T, bias=True).reshape(size, size) @ axes
    np.testing.assert_allclose(np.diag(new), old / (old + SHRINKAGE * old.mean()), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(new - np.diag(np.diag(new)), 0, atol=1e-7)


def test_whitening_is_in_the_last_layer() -> None:
    """A whitened model puts out (x - shift) @ matrix of what it did before, and still unit lengths."""
    model = measured()
    with torch.no_grad():
        before = model.project(images(64, seed=3)).double().numpy()
    found = whitening(before)
    assert found is not None
    whiten(model, before)
    with torch.no_grad():
        after, unit = model.project(images(64, seed=3)), model(images(64, seed=3))
    np.testing.assert_allclose(after.numpy(), (before - found[0]) @ found[1], atol=1e-4)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(64))


def test_too_few_pictures_do_not_whiten() -> None:
    """With fewer than two pictures a dimension the model stays as it was trained."""
    model = measured()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whiten(model, np.random.default_rng(0).standard_normal((2 * MICRO.embed_dim - 1, MICRO.embed_dim)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("scale", "place"), [(0.03, 0.0), (0.05, 0.1)])
def test_the_proposed_threshold_extrapolates(scale: float, place: float) -> None:
    """Of 5,000 cosines with an exponential tail, the threshold that 1 in 100,000 would pass, to a few hundredths."""
    cosines = np.random.default_rng(1).exponential(scale, 5_000).astype(np.float32) + np.float32(place)
    expected = place + scale * math.log(1 / FALSE_PAIRS)
    assert _threshold(cosines) == pytest.approx(expected, abs=0.06)


def test_the_proposed_threshold_has_ends() -> None:
    """It is a number of hundredths, 0.95 at most, whatever the cosines; one pair of pictures is enough for one."""
    assert _threshold(np.full(10, 0.99, np.float32)) == 0.95
    assert _threshold(np.full(2, 0.2, np.float32)) == pytest.approx(0.2, abs=0.011)
    assert _threshold(np.full(2, -0.5, np.float32)) <= 0
