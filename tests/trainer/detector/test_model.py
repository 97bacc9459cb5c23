from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainer.detector.export import to_onnx
from trainer.detector.model import (
    CONFIGS,
    Convolution,
    Detector,
    DetectorConfig,
    Projection,
    blur_halved,
    build_detector,
    detector_config,
    measure_scales,
)
from wit.errors import RecipeError

MICRO = CONFIGS["micro"]


def images(count: int, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.interpolate(torch.randn(count, 3, 5, 5, generator=generator), (side, side), mode="bilinear")


def measured(config: DetectorConfig = MICRO) -> Detector:
    model = build_detector(config, 0)
    measure_scales(model, images(8, config.image_px))
    return model.eval()


def test_the_papers_detector_is_a_resnet_50_without_batch_norm() -> None:
    """53 convolutions, 23.5 M weights in them as in ResNet-50, a projection, and no statistics of batches."""
    model = build_detector(CONFIGS["resnet50"], 0)
    convolutions = [layer for layer in model.modules() if isinstance(layer, Convolution)]
    assert len(convolutions) == 1 + 16 * 3 + 4
    assert sum(layer.direction.numel() for layer in convolutions) == 23_454_912  # torchvision's, by its shapes
    assert not list(model.buffers())
    assert sum(each.numel() for each in build_detector(CONFIGS["small"], 0).parameters()) < 2_000_000


def test_an_embedding_does_not_depend_on_the_batch() -> None:
    """What batch norm would leak is not there: alone or among others, a picture's embedding is the same."""
    model = measured()
    with torch.no_grad():
        together, alone = model(images(6)), torch.cat([model(one[None]) for one in images(6)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(6))


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 7]), st.integers(1, 2), st.integers(0, 99))
def test_weight_norm_is_that_of_pytorch(inputs: int, outputs: int, kernel: int, stride: int, seed: int) -> None:
    """The same directions and gains give what PyTorch's own weight norm gives."""
    torch.manual_seed(seed)
    ours = Convolution(inputs, outputs, kernel, stride)
    with torch.no_grad():
        ours.gain.uniform_(0.1, 3)
        ours.bias.uniform_(-1, 1)
    peer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    peer = nn.utils.parametrizations.weight_norm(peer)
    with torch.no_grad():
        peer.parametrizations.weight.original0.copy_(ours.gain.view(-1, 1, 1, 1))
        peer.parametrizations.weight.original1.copy_(ours.direction)
        peer.bias.copy_(ours.bias)
    x = torch.randn(2, inputs, 9, 8)
    torch.testing.assert_close(ours(x), peer(x))


def test_downsampling_is_anti_aliased() -> None:
    """What no half resolution can hold (every second pixel bright) vanishes; what is constant stays."""
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 2, 16, 16)
    assert blur_halved(stripes)[..., 1:].abs().max() < 1e-6
    assert blur_halved(stripes.transpose(2, 3))[..., 1:, :].abs().max() < 1e-6
    torch.testing.assert_close(blur_halved(torch.full((1, 2, 16, 16), 3.0)), torch.full((1, 2, 8, 8), 3.0))


def test_a_shift_by_a_pixel_moves_an_embedding_less_than_without_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blurred strides see a shifted picture as nearly the same; plain strides (here in the blur's place) do not."""
    wide = images(16, 33)
    pair = wide[..., :32, :32], wide[..., 1:, 1:]

    def similarity() -> float:
        model = measured()
        with torch.no_grad():
            return float((model(pair[0]) * model(pair[1])).sum(dim=1).mean())

    blurred = similarity()
    monkeypatch.setattr("trainer.detector.model.blur_halved", lambda x: x[..., ::2, ::2])
    assert blurred > similarity()


def test_first_scales_come_from_pictures() -> None:
    """After the measuring each layer's outputs have mean 0 and deviation 1 over the batch (Salimans, Kingma)."""
    model = build_detector(MICRO, 0)
    batch = images(16)
    measure_scales(model, batch)
    outputs: list[Tensor] = []
    for layer in model.modules():
        if isinstance(layer, Convolution | Projection):
            layer.register_forward_hook(lambda _module, _inputs, out: outputs.append(out.transpose(0, 1).flatten(1)))
    with torch.no_grad():
        model(batch)
    assert len(outputs) == 10
    for out in outputs:
        torch.testing.assert_close(out.mean(dim=1), torch.zeros(len(out)), atol=1e-4, rtol=0)
        torch.testing.assert_close(out.std(dim=1, correction=0), torch.ones(len(out)), atol=1e-3, rtol=0)


def test_the_seed_decides_the_weights() -> None:
    """The same seed gives the same weights whatever was drawn before; another one others."""
    first = build_detector(MICRO, 5).state_dict()
    torch.rand(3)
    second, other = build_detector(MICRO, 5).state_dict(), build_detector(MICRO, 6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    with pytest.raises(RecipeError, match="expected one of resnet50, small, micro, found 'vit'"):
        detector_config("vit")


NARROW = replace(CONFIGS["resnet50"], image_px=64, stem_width=16, widths=(8, 16, 24, 32), blocks=(2, 1, 2, 1))


@pytest.mark.parametrize("config", [MICRO, CONFIGS["small"], NARROW])
def test_the_exported_graph_is_the_model(config: DetectorConfig) -> None:
    """ONNX Runtime gives for the file what PyTorch gives for the model, for any number of images; the bytes repeat."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = measured(config)
    data = to_onnx(model)
    assert data == to_onnx(model)
    pytest.importorskip("onnx").checker.check_model(data, full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        batch = images(count, model.config.image_px, seed=count)
        with torch.no_grad():
            expected = model(batch).numpy()
        (found,) = session.run(None, {"images": batch.numpy()})
        np.testing.assert_allclose(found, expected, atol=2e-5)
