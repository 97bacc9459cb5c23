from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.detector.model import CONFIGS, build_detector, measure_scales
from trainer.detector.step import backward, pair_loss
from trainer.models.inputs import normalise_images


def octets(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 99))
def test_the_loss_is_info_nce_at_seven_hundredths(count: int, size: int, seed: int) -> None:
    """Each picture over all copies and each copy over all pictures, as written in the definition."""
    torch.manual_seed(seed)
    left, right = (torch.nn.functional.normalize(torch.randn(count, size).double()) for _ in range(2))
    logits = (left @ right.T / 0.07).tolist()
    total = 0.0
    for i in range(count):
        total -= logits[i][i] - math.log(sum(math.exp(value) for value in logits[i]))
        total -= logits[i][i] - math.log(sum(math.exp(row[i]) for row in logits))
    loss, accuracy = pair_loss(left, right)
    assert float(loss) == pytest.approx(total / 2 / count, rel=1e-4, abs=1e-5)
    hits = sum(max(range(count), key=row.__getitem__) == i for i, row in enumerate(logits))
    assert float(accuracy) == pytest.approx(hits / count)


def test_copies_that_agree_cost_nothing() -> None:
    """Orthogonal pictures with equal copies: the least loss there is at this temperature; blind ones ln B."""
    eye = torch.eye(8)
    assert float(pair_loss(eye, eye)[0]) == pytest.approx(math.log(1 + 7 * math.exp(-1 / 0.07)), rel=0.1)
    assert float(pair_loss(torch.ones(8, 1), torch.ones(8, 1))[0]) == pytest.approx(math.log(8))


@pytest.mark.parametrize("micro_batch", [1, 5, 12, 24, 100])
def test_micro_batches_have_the_gradients_of_the_batch(micro_batch: int) -> None:
    """However few images are in the network at once, loss and gradients are those of the whole batch."""
    pictures, copies = octets(12, 1), octets(12, 2)
    found = []
    for size in (0, micro_batch):
        model = build_detector(CONFIGS["micro"], 0)
        measure_scales(model, normalise_images(pictures))
        loss, accuracy = backward(model, pictures, copies, "fp32", size)
        found.append((float(loss), float(accuracy), [each.grad for each in model.parameters()]))
    whole, pieces = found
    assert pieces[0] == pytest.approx(whole[0], rel=1e-6)
    assert pieces[1] == whole[1]
    for left, right in zip(whole[2], pieces[2], strict=True):
        assert left is not None
        assert right is not None
        assert float((left - right).norm()) <= 1e-3 * float(left.norm())


def test_bf16_products_leave_the_loss_in_fp32() -> None:
    """Under bf16 embeddings are of unit length to fp32's precision, and the loss is near that of fp32."""
    pictures, copies = octets(12, 1), octets(12, 2)
    losses = []
    for precision in ("fp32", "bf16"):
        model = build_detector(CONFIGS["micro"], 0)
        measure_scales(model, normalise_images(pictures))
        loss, _ = backward(model, pictures, copies, precision, 0)
        losses.append(float(loss))
        assert loss.dtype == torch.float32
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            torch.testing.assert_close(model(normalise_images(copies)).norm(dim=1), torch.ones(12))
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
