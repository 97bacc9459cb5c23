"""Beside other implementations, where there are any; `benchmarks.model_parity` is the same for all models and peers."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.model_parity import compare


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["transformers", "open_clip", "open_clip_folder"])
def test_embeddings_are_those_of_other_implementations(peer: str, tmp_path: Path) -> None:
    """With another's random weights, read from its checkpoint, unit embeddings differ by 1e-5 at most in fp32."""
    if not (python := os.environ.get("WIT_PEERS")):
        pytest.skip("needs another Python with transformers and open_clip (set WIT_PEERS)")
    rows = compare("ViT-B/32", peer, tmp_path, SimpleNamespace(images=1, peers=python, released=""))
    assert rows
    assert all(difference <= 1e-5 for _, differences in rows for difference in differences)
