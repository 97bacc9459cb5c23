from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.evaluation import retrieval
from trainer.evaluation.retrieval import retrieve
from wit.errors import InputError

DRAWN = st.integers(0, 1 << 30)


def naive_ranks(score: NDArray[np.float32], own: list[list[int]]) -> list[int]:
    """Return the place, from 1, of the first of each row's own columns when all are sorted, the first of equals first.

    Sorting all columns by (score, number) is what `retrieve` does without.
    """
    ranks = []
    for row, mine in zip(score, own, strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], column))
        ranks.append(1 + min(order.index(column) for column in mine))
    return ranks


@given(st.integers(1, 9), st.integers(0, 20), DRAWN)
def test_ranks_are_those_of_sorting(num_images: int, num_more: int, seed: int) -> None:
    """On small whole numbers, which often tie, ranks equal those of sorting; an image has 1 to 20 captions."""
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(num_images), rng.integers(0, num_images, num_more)])
    rng.shuffle(owner)
    image = rng.integers(-1, 2, (num_images, 3)).astype(np.float32)
    text = rng.integers(-1, 2, (len(owner), 3)).astype(np.float32)
    found = retrieve(torch.from_numpy(image), torch.from_numpy(text), owner.tolist())
    assert found.image_ranks.tolist() == naive_ranks(text @ image.T, [[int(each)] for each in owner])
    captions = [np.flatnonzero(owner == number).tolist() for number in range(num_images)]
    assert found.caption_ranks.tolist() == naive_ranks(image @ text.T, captions)
    for k in (1, 2, 5):
        assert found.text_to_image(k) == pytest.approx(np.mean(found.image_ranks <= k))
        assert found.image_to_text(k) == pytest.approx(np.mean(found.caption_ranks <= k))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks are the same with one row at a time as with all at once."""
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(13, 8, generator=generator), dim=1)
    text = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1)
    owner = [number % 13 for number in range(40)]
    whole = retrieve(image, text, owner)
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", 1)
    rows = retrieve(image, text, owner)
    assert rows.image_ranks.tolist() == whole.image_ranks.tolist()
    assert rows.caption_ranks.tolist() == whole.caption_ranks.tolist()


def test_planted_pairs_are_found() -> None:
    """Five captions an image that are the image with a little noise: recall@1 is 1 both ways; of noise it is chance."""
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(50, 64, generator=generator), dim=1)
    owner = [number // 5 for number in range(250)]
    text = image[owner] + 0.02 * torch.randn(250, 64, generator=generator)
    found = retrieve(image, text, owner)
    assert (found.text_to_image(1), found.image_to_text(1)) == (1.0, 1.0)
    noise = retrieve(image, torch.randn(250, 64, generator=generator), owner)
    assert noise.text_to_image(10) == pytest.approx(10 / 50, abs=0.08)  # 250 captions: 3 deviations of 0.025


def test_what_belongs_to_nothing_is_refused() -> None:
    """An image without a caption, a caption without an image or of none that is there: one clear line."""
    image, text = torch.eye(3), torch.eye(3)
    for owner in ([0, 1, 1], [0, 1], [0, 1, 3], [0, 1, -1]):
        with pytest.raises(InputError, match="expected captions of each of 3 images, found"):
            retrieve(image, text, owner)
