"""One small miniature web for all tests of the sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from wit.sample.build import write_sample

NUM_PAIRS = 1000
SEED = 3


@pytest.fixture(scope="session")
def miniature_web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written sample of 1,000 pairs."""
    folder = tmp_path_factory.mktemp("sample") / "web"
    assert write_sample(str(folder), NUM_PAIRS, SEED, num_processes=1)
    return folder
