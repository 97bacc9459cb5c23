from __future__ import annotations

import pytest

from trainer.running.peaks import peak_flops


@pytest.mark.parametrize(
    ("name", "half", "fp32"),
    [
        ("NVIDIA H200", 989.5e12, 67e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12, 67e12),
        ("NVIDIA H100 PCIe", 756.5e12, 51e12),
        ("NVIDIA H100 NVL", 835.5e12, 60e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA GH200 480GB", 989.5e12, 67e12),
        ("Tesla V100-SXM2-32GB", 125e12, 15.7e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12),
    ],
)
def test_devices_are_found_by_the_names_that_torch_gives(name: str, half: float, fp32: float) -> None:
    """Each name finds its own device, not one whose name is part of it; fp32 products have a peak of their own."""
    assert peak_flops(name, "bf16") == peak_flops(name, "fp16") == half
    assert peak_flops(name, "fp32") == fp32


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "AMD Instinct MI300X",
        "NVIDIA A1000",
        "",
    ],
)
def test_an_unknown_device_has_no_peak(name: str) -> None:
    """No number is made up for a device that is not in the table."""
    assert peak_flops(name, "bf16") is None
