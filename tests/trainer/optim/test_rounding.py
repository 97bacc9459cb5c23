from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.optim.rounding import high_bits, low_bits, random_bits, round_stochastically

TYPES = (torch.float16, torch.bfloat16)
ALL_BITS = torch.arange(1 << 16, dtype=torch.int32)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def neighbours(x: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return the largest number of a type that is not above x, and the smallest that is not below; finite ones."""
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype).double().numpy()
    numbers = np.unique(patterns[np.isfinite(patterns)])
    bounded = min(max(x, numbers[0]), numbers[-1])
    below = numbers[np.searchsorted(numbers, bounded, side="right") - 1]
    above = numbers[np.searchsorted(numbers, bounded, side="left")]
    return float(below), float(above)


def rounded(x: float, dtype: torch.dtype, bits: Tensor = ALL_BITS) -> Tensor:
    """Return what a number becomes with each of the bits, in fp64."""
    return round_stochastically(torch.full((len(bits),), x), dtype, bits).double()


@pytest.mark.parametrize("dtype", TYPES)
@given(x=floats)
def test_a_number_becomes_one_of_its_neighbours_and_is_right_on_average(dtype: torch.dtype, x: float) -> None:
    """Over all 65,536 bits only the two neighbours in the type appear, and their mean is the number.

    To half a step of the bits, 2^-17 of the distance between the neighbours.
    """
    below, above = neighbours(x, dtype)
    results = rounded(x, dtype)
    assert set(results.tolist()) <= {below, above}
    if below <= x <= above:
        assert abs(math.fsum(results.tolist()) / len(results) - x) <= (above - below) * 2.0**-16


@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_of_the_type_stays_as_it_is(dtype: torch.dtype) -> None:
    """All 65,536 patterns of the type, zeros of both signs, subnormal ones, infinities and NaN among them."""
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    for bits in (0, 12_345, 65_535):
        result = round_stochastically(patterns.float(), dtype, torch.full((1 << 16,), bits, dtype=torch.int32))
        torch.testing.assert_close(result, patterns, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float16, 65_504.0), (torch.bfloat16, 3.3895313892515355e38)])
def test_what_is_too_large_becomes_the_largest(dtype: torch.dtype, largest: float) -> None:
    """A finite number never becomes infinite, also where the upper neighbour would be: 65,504 is fp16's largest."""
    for x in (largest * 1.0009, 3.4028234e38):
        assert set(rounded(x, dtype).tolist()) == {largest}
        assert set(rounded(-x, dtype).tolist()) == {-largest}


def test_the_least_numbers_round_to_the_least_of_fp16_or_to_zero() -> None:
    """A fourth of fp16's least number, 2^-24, becomes that number in a fourth of the cases and else 0."""
    results = rounded(2.0**-26, torch.float16)
    assert set(results.tolist()) == {0.0, 2.0**-24}
    assert float((results > 0).double().mean()) == 0.25


@pytest.mark.parametrize("dtype", TYPES)
def test_a_running_mean_moves_only_when_it_is_rounded_by_chance(dtype: torch.dtype) -> None:
    """A thousand steps of +0.0001 to 1: by chance 1.1 on average, to the nearest for ever 1."""
    by_chance, nearest = torch.ones(4096, dtype=dtype), torch.ones(4096, dtype=dtype)
    index = torch.arange(4096, dtype=torch.int32)
    for step in range(1_000):
        bits = low_bits(random_bits(index, seed=0, step=torch.tensor(float(step))))
        by_chance = round_stochastically(by_chance.float() + 1e-4, dtype, bits)
        nearest = (nearest.float() + 1e-4).to(dtype)
    assert float(by_chance.double().mean()) == pytest.approx(1.1, abs=0.002)
    assert torch.equal(nearest, torch.ones_like(nearest))


def test_random_bits_are_a_function_of_seed_step_and_element_alone() -> None:
    """A part of the elements gets the bits that it gets among all of them; another seed or step gives others."""
    index, step = torch.arange(10_000, dtype=torch.int32), torch.tensor(7.0)
    bits = random_bits(index, seed=3, step=step)
    assert torch.equal(random_bits(index[4_000:], seed=3, step=step), bits[4_000:])
    for seed, other in ((4, step), (3 + (1 << 40), step), (3, torch.tensor(8.0))):
        assert float((random_bits(index, seed, other) == bits).double().mean()) < 0.001


def test_random_bits_look_random() -> None:
    """Each of 32 bits is set in half of the elements, and agrees in half of them with that of near steps and elements.

    Bounds are six standard deviations of fair coins.
    """
    count = 1 << 16
    index = torch.arange(count, dtype=torch.int32)
    places = torch.arange(32, dtype=torch.int32)
    bound = 6 * 0.5 / math.sqrt(count)

    def bits_of(step: int, shift: int = 0) -> Tensor:
        return (random_bits(index + shift, seed=1, step=torch.tensor(float(step)))[:, None] >> places) & 1

    first = bits_of(1)
    assert float((first.double().mean(dim=0) - 0.5).abs().max()) < bound
    for step, shift in ((2, 0), (1, 1), (2, 1), (2, -1), (3, 2)):
        agreement = (bits_of(step, shift) == first).double().mean(dim=0)
        assert float((agreement - 0.5).abs().max()) < bound


def test_two_halves_of_the_bits_are_two_draws() -> None:
    """The halves are of 0 to 65,535, uniform, and not correlated: 0.0235 is six deviations of 65,536 draws."""
    bits = random_bits(torch.arange(1 << 16, dtype=torch.int32), seed=0, step=torch.tensor(1.0))
    low, high = low_bits(bits).double(), high_bits(bits).double()
    for half in (low, high):
        assert 0 <= float(half.min()) < 100
        assert 65_436 < float(half.max()) < 65_536
    assert abs(float(torch.corrcoef(torch.stack([low, high]))[0, 1])) < 0.0235
