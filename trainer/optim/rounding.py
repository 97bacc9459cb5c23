"""Stochastic rounding: of the two neighbours of a number in a narrower type, one by chance, so that the mean is right.

Rounding to the nearest loses every update smaller than half a step of the type: a running mean with decay 0.999 kept
in bf16, whose steps are 2^-8 of a number, hardly moves at all. Rounding by chance is right on average instead.

The chance is a hash of (seed, step, number of the element), and nothing else: the same on every device, for every
number of ranks and every way of sharing the weights out, and nothing of it has to be saved.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK_16 = (1 << 16) - 1
_EXPONENT = 0x7F80_0000  # the exponent's bits of an fp32 number; alone, they are the power of two below it


def _signed(value: int) -> int:
    """Return the signed 32-bit integer with the same bits: torch's int32 wraps, its uint32 has no arithmetic."""
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Return int32 numbers shifted right as if they were unsigned."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _mix(x: Tensor, key: Tensor | int = 0) -> Tensor:
    """Return a bijection of int32 numbers in which each bit depends on every one: lowbias32 of Chris Wellons.

    Constants: https://nullprogram.com/blog/2018/07/31/. A `key` enters half-way, so that the numbers of two keys are
    not those of one another further on.
    """
    x = (x ^ _shifted(x, 16)) * 0x7FEB_352D ^ key
    x = (x ^ _shifted(x, 15)) * _signed(0x846C_A68B)
    return x ^ _shifted(x, 16)


def random_bits(index: Tensor, seed: int, step: Tensor) -> Tensor:
    """Return 32 random bits for each element, as int32, from its number (int32), the seed and the step (0-d)."""
    low, high = _signed(seed), _signed(seed >> 32)
    return _mix(index, key=_mix(_mix(step.to(torch.int32) ^ low) ^ high))


def low_bits(bits: Tensor) -> Tensor:
    """Return the lower 16 of 32 random bits: 0 to 65,535."""
    return bits & _MASK_16


def high_bits(bits: Tensor) -> Tensor:
    """Return the upper 16 of 32 random bits: 0 to 65,535."""
    return _shifted(bits, 16)


def round_stochastically(x: Tensor, dtype: torch.dtype, bits: Tensor) -> Tensor:
    """Return fp32 numbers as fp16 or bf16: of the two neighbours the nearer with the greater chance.

    `bits` are integers of 0 to 65,535, as many as numbers. What the type can hold stays as it is, and so do
    infinities and NaN; a finite number beyond the type's largest becomes the largest, never infinite.
    """
    largest = torch.finfo(dtype).max
    bounded = x.clamp(-largest, largest)
    rounded = _round_bf16(bounded, bits) if dtype == torch.bfloat16 else _round_fp16(bounded, bits)
    return torch.where(x.isfinite(), rounded, x).to(dtype)


def _round_bf16(x: Tensor, bits: Tensor) -> Tensor:
    """bf16 is the upper half of fp32: a random lower half is added, and its carry decides."""
    return ((x.view(torch.int32) + bits) & ~_MASK_16).view(torch.float32)


def _round_fp16(x: Tensor, bits: Tensor) -> Tensor:
    """fp16 has steps of 2^-10 of the power of two below, and of 2^-24 below its smallest normal number, 2^-14."""
    power = (x.view(torch.int32) & _EXPONENT).view(torch.float32)
    unit = power.clamp(min=2.0**-14) * 2.0**-10
    count = x / unit  # exact: the unit is a power of two
    below = count.floor()
    is_up = (bits + 0.5) * 2.0**-16 < count - below
    return (below + is_up) * unit
