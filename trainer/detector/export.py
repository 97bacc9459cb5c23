"""A trained detector as one ONNX file, its weight norm multiplied out, and what says how to use it beside it.

The graph is written node by node, so that its bytes are a function of the weights: PyTorch's exporter puts paths of the
machine and line numbers of the code into it. Dimensions: N images, C channels, S image side in px, D embedding.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.detector.measuring import Measured
from trainer.detector.model import Bottleneck, Convolution, Detector, blur_kernel
from trainer.models.inputs import IMAGE_MEAN, IMAGE_STD
from wit import __version__, manifest
from wit.storage import join, publish_bytes

ONNX, FACTS = "detector.onnx", "detector.json"
OPSET = 20  # the first with Gelu; ONNX Runtime knows it from 1.17 on
IR_VERSION = 9  # of opset 20
DEFAULT_THRESHOLD = 0.75  # where no held-out pictures say better; SSCD's


def to_onnx(model: Detector) -> bytes:
    """Return a model as ONNX: `images` float32 (N, 3, S, S) in, `vectors` float32 (N, D) of unit length out."""
    from onnx import TensorProto, helper

    graph = _Graph()
    with torch.no_grad():
        x = graph.gelu(graph.convolution("images", model.stem))
        x = graph.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = graph.blur_halved(x, model.config.stem_width)
        for block in model.blocks:
            assert isinstance(block, Bottleneck)
            x = graph.bottleneck(x, block)
        x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
        weights = graph.constant(model.projection.weight), graph.constant(model.projection.bias)
        x = graph.node("Gemm", x, *weights, transB=1)
        graph.node("LpNormalization", x, axis=1, p=2, out="vectors")
    side, size = model.config.image_px, model.config.embed_dim
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, side, side])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", size])
    made = helper.make_model(
        helper.make_graph(graph.nodes, "detector", [images], [vectors], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="wit",
    )
    data: bytes = made.SerializeToString(deterministic=True)
    return data


class _Graph:
    """Nodes and constants in the order in which they are asked for, named by their number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        from onnx import helper

        out = out or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, values: Tensor | np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def convolution(self, x: str, layer: Convolution) -> str:
        weights = self.constant(layer.weight), self.constant(layer.bias)
        return self.node("Conv", x, *weights, strides=[layer.stride] * 2, pads=[layer.padding] * 4)

    def gelu(self, x: str) -> str:
        return self.node("Gelu", x)

    def blur_halved(self, x: str, channels: int) -> str:
        ends = self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        padded = self.node("Pad", x, ends, mode="reflect")
        return self.node("Conv", padded, self.constant(blur_kernel(channels)), strides=[2, 2], group=channels)

    def bottleneck(self, x: str, block: Bottleneck) -> str:
        inner = self.gelu(self.convolution(self.gelu(self.convolution(x, block.reduce)), block.mix))
        beside = x
        if block.is_halving:
            inner = self.blur_halved(inner, len(block.mix.gain))
            beside = self.blur_halved(x, block.reduce.direction.shape[1])
        inner = self.convolution(inner, block.expand)
        if block.shortcut is not None:
            beside = self.convolution(beside, block.shortcut)
        return self.gelu(self.node("Add", inner, beside))


def write_detector(out: str, model: Detector, measured: Measured | None, made: dict[str, Any]) -> str:
    """Write OUT/detector.onnx and, last, OUT/detector.json (as wit.descriptors reads them); return the first's path.

    `made` says how the detector came to be.
    """
    data = to_onnx(model)
    url = join(out, ONNX)
    publish_bytes(url, data)
    facts = {
        "side_px": model.config.image_px,
        "mean": list(IMAGE_MEAN),
        "std": list(IMAGE_STD),
        "embedding_size": model.config.embed_dim,
        "similarity": "cosine",
        "threshold": measured.threshold if measured else DEFAULT_THRESHOLD,
        "held_out": asdict(measured) if measured else None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "made": {**made, "wit": __version__},
    }
    manifest.write(join(out, FACTS), facts)
    return url
