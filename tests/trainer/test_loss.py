from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainer.loss import clip_log_scale, contrastive_loss


def unit_rows(seed: int, rows: int = 6, columns: int = 5) -> Tensor:
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return values / values.norm(dim=1, keepdim=True)


def naive_loss(image: Tensor, text: Tensor, scale: float) -> float:
    """The paper's Figure 3, number by number."""
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for row in range(len(one)):
            logits = [scale * float(one[row].double() @ other[column].double()) for column in range(len(other))]
            total += math.log(sum(math.exp(logit - logits[row]) for logit in logits)) / len(one)
    return total / 2


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_loss_equals_the_naive_sum(scale: float) -> None:
    """The loss is the mean of the two cross-entropies, computed term by term."""
    image, text = unit_rows(0), unit_rows(1)
    loss, logits = contrastive_loss(image, text, torch.tensor(scale))
    assert float(loss) == pytest.approx(naive_loss(image, text, scale), rel=1e-5)
    torch.testing.assert_close(logits, scale * image @ text.T)


def test_loss_is_symmetric_and_lowest_for_the_right_pairs() -> None:
    """Exchanging the sides changes nothing; equal pairs beat shuffled ones."""
    image, text, scale = unit_rows(0), unit_rows(1), torch.tensor(10.0)
    assert float(contrastive_loss(image, text, scale)[0]) == pytest.approx(
        float(contrastive_loss(text, image, scale)[0])
    )
    assert contrastive_loss(image, image, scale)[0] < contrastive_loss(image, image.roll(1, 0), scale)[0]


def test_loss_is_fp32_under_autocast() -> None:
    """Under bf16 autocast the logits keep fp32: at scale 100 bf16 would be off by a quarter."""
    image, text, scale = unit_rows(0), unit_rows(1), torch.tensor(100.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, logits = contrastive_loss(image.bfloat16().float(), text.bfloat16().float(), scale)
    wanted, _ = contrastive_loss(image.bfloat16().float(), text.bfloat16().float(), scale)
    assert loss.dtype == logits.dtype == torch.float32
    assert torch.equal(loss, wanted)


@pytest.mark.parametrize(("before", "after"), [(7.0, math.log(100)), (-1.0, 0.0), (2.5, 2.5)])
def test_scale_is_clipped_to_1_and_100(before: float, after: float) -> None:
    """The learned scale stays within [1, 100]."""
    log_scale = torch.nn.Parameter(torch.tensor(before))
    clip_log_scale(log_scale)
    assert float(log_scale.detach()) == pytest.approx(after)
