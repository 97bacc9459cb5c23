"""The most operations a second that a GPU is sold for, to say what share of them training uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """Operations a second of dense products, two for each multiply-add."""

    half: float
    """In fp16 or bf16, summed in fp32."""
    fp32: float
    """In fp32 without TF32."""


_PEAKS = {
    "B200": Peak(2_250e12, 75e12),  # HGX B200: 4.5 petaFLOPS with sparsity
    "GH200": Peak(989.5e12, 67e12),
    "H200 NVL": Peak(835.5e12, 60e12),
    "H200": Peak(989.5e12, 67e12),
    "H100 NVL": Peak(835.5e12, 60e12),
    "H100 PCIe": Peak(756.5e12, 51e12),
    "H100": Peak(989.5e12, 67e12),
    "A100": Peak(312e12, 19.5e12),
    "A10": Peak(125e12, 31.2e12),
    "A40": Peak(149.7e12, 37.4e12),
    "L40S": Peak(362e12, 91.6e12),
    "L4": Peak(121e12, 30.3e12),
    "V100-SXM2": Peak(125e12, 15.7e12),
    "V100-PCIE": Peak(112e12, 14e12),
    "T4": Peak(65e12, 8.1e12),
    "RTX 4090": Peak(165.2e12, 82.6e12),
    "RTX 3090": Peak(71e12, 35.6e12),
}
"""Words of a device's name, the longer before the shorter -> its peak.

NVIDIA's data sheets of each; where they give a number "with sparsity" (Hopper, Ada's L4 and L40S, Blackwell), half of
it. Of the two GeForce cards the Ada and Ampere GA102 white papers, tensor cores with sums in fp32.
"""

_NOT_WHOLE = ("Laptop", "Max-Q", "MIG")  # a slower kind of the same name, or a part of a device


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return a device's peak in operations a second at "fp32", "fp16" or "bf16"; None for a device that is not listed.

    `device_name` is as `torch.cuda.get_device_name` gives it, such as "NVIDIA H200".
    """
    words = f"{device_name} "
    if any(f" {word} " in words for word in _NOT_WHOLE):
        return None
    for name, peak in _PEAKS.items():
        if f"{name} " in words or f"{name}-" in words:
            return peak.fp32 if precision == "fp32" else peak.half
    return None
