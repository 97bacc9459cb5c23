from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainer.optim.ema import Ema


class Small(nn.Module):
    """A weight and a norm with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.norm = nn.BatchNorm1d(3)


def averaged(model: Small, average: Ema) -> Tensor:
    """Return the average of the weight."""
    with average.swapped():
        return model.weight.detach().clone()


def set_weight(model: Small, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_average_is_the_written_sum() -> None:
    """After each step the average moves by 1 - min(decay, (1 + step) / (10 + step)) of the way to the weights."""
    model = Small()
    average = Ema(model, 0.9)
    expected = 0.0
    for step in range(1, 200):
        set_weight(model, float(step))
        average.update(step)
        expected += (1 - min(0.9, (1 + step) / (10 + step))) * (step - expected)
        assert float(averaged(model, average)[0]) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(190, abs=0.1)  # of a line the average lags 0.9 / 0.1 = 9 steps behind


def test_swapping_gives_every_weight_back() -> None:
    """The average is in the model inside, and the weights themselves, bit for bit, after it, also after an error."""
    model = Small()
    average = Ema(model, 0.5)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([1 / 3, 1e-30, -7.0]))
    before = model.weight.detach().clone()
    average.update(100)
    with pytest.raises(AssertionError, match="not equal"), average.swapped():
        torch.testing.assert_close(model.weight.detach(), before, rtol=0, atol=0)
    assert torch.equal(model.weight, before)
    torch.testing.assert_close(averaged(model, average), before / 2)


def test_a_step_that_was_called_off_does_not_count() -> None:
    """With `skip` of 1 the average stays; with 0 it moves as without."""
    model = Small()
    skipping, plain = Ema(model, 0.9), Ema(model, 0.9)
    set_weight(model, 5.0)
    skipping.update(50, torch.tensor(True))
    assert torch.equal(averaged(model, skipping), torch.zeros(3))
    skipping.update(50, torch.tensor(0.0))
    plain.update(50)
    torch.testing.assert_close(averaged(model, skipping), averaged(model, plain))
    assert float(averaged(model, plain)[0]) == pytest.approx(0.75)  # 1 - 51 / 60 = 0.15 of 5


def test_running_statistics_are_averaged_too() -> None:
    """A norm's mean and variance go with the weights that they were taken with; its count is no number to average."""
    model = Small()
    average = Ema(model, 0.5)
    model.norm(torch.full((4, 3), 10.0))  # moves the running mean by a tenth: to 1
    average.update(100)
    assert model.norm.running_mean is not None
    assert model.norm.num_batches_tracked is not None
    with average.swapped():
        assert model.norm.running_mean.tolist() == [0.5] * 3
        assert int(model.norm.num_batches_tracked) == 1
    assert model.norm.running_mean.tolist() == [1.0] * 3


def test_an_average_is_loaded_while_it_is_swapped_in() -> None:
    """What is written to the model inside `swapped` is the average afterwards, and the weights stay."""
    model = Small()
    average = Ema(model, 0.9)
    with average.swapped():
        set_weight(model, 4.0)
    assert torch.equal(model.weight.detach(), torch.zeros(3))
    assert averaged(model, average).tolist() == [4.0] * 3
