"""Our trainer beside open_clip's: the same weights, batches and recipe, the same losses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning_parity import initial_weights, make_batches, moved, train, train_peer


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ViT-micro/16", "RN-micro"])
def test_open_clip_learns_alike(model: str, shards: Path) -> None:
    """Over 12 steps every loss is open_clip's to 5e-6, while other weights by 1 in 10^7 move none by more than that."""
    if not (python := os.environ.get("WIT_PEERS")):
        pytest.skip("needs another Python with open_clip (set WIT_PEERS)")
    config, batches = make_batches(str(shards), model, 16, 12)
    weights = initial_weights(config, seed=0)
    ours = train(config, weights, batches)
    np.testing.assert_allclose(train_peer(config, weights, batches, python), ours, rtol=0, atol=5e-6)
    np.testing.assert_allclose(train(config, moved(weights), batches), ours, rtol=0, atol=5e-6)
    assert ours[-1] != pytest.approx(ours[0], abs=1e-2)
