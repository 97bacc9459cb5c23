from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

from tests.support import ROOT, real_data  # noqa: E402
from wit import descriptors  # noqa: E402
from wit.descriptors import Preparation, distances, load, scaled, sidecar_name, skewed  # noqa: E402
from wit.errors import InputError  # noqa: E402
from wit.image import ImageRejected, decode  # noqa: E402


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed: int, width: int = 90, height: int = 60) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def write_onnx(
    path: Path,
    nodes: list[Any] | None = None,
    shape: tuple[Any, ...] = ("N", 3, 8, 8),
    out: tuple[Any, ...] = ("N", 3),
    kind: int = TensorProto.FLOAT,
    constants: tuple[Any, ...] = (),
) -> Path:
    """Write a model; without nodes one that gives the mean of each channel."""
    nodes = nodes or [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vectors"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, out)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def write_torchscript(path: Path, function: Callable[..., Any]) -> Path:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls TorchScript old
        torch.jit.save(torch.jit.trace(function, torch.ones(2, 3, 8, 8)), str(path))
    return path


def test_a_descriptor_gives_what_its_model_gives(tmp_path: Path) -> None:
    """Means of channels, after the stated preparation, at unit length: as computed here with Pillow and numpy."""
    path = write_onnx(tmp_path / "means.onnx")
    preparation = {"side_px": 8, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "threshold": 0.9}
    (tmp_path / "means.json").write_text(json.dumps(preparation))
    descriptor = load(str(path))
    assert descriptor.preparation == Preparation(8, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 0.9)
    assert descriptor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    images = [noise(seed) for seed in range(5)]
    found = descriptor.describe([png(image) for image in images])
    pixels = np.stack([np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)) for image in images]) / 255
    means = ((pixels - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).mean(axis=(1, 2))
    np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)
    assert found.dtype == np.float32


def test_torchscript_is_the_same_as_onnx(tmp_path: Path) -> None:
    """The two kinds of file of one model give the same vectors."""
    torchscript = write_torchscript(tmp_path / "means.torchscript.pt", lambda images: images.mean(dim=(2, 3)))
    facts = json.dumps({"side_px": 8})
    for name in ("means.torchscript.json", "means.json"):
        (tmp_path / name).write_text(facts)
    bodies = [jpeg(noise(seed)) for seed in range(3)]
    found = load(str(torchscript)).describe(bodies)
    np.testing.assert_allclose(found, load(str(write_onnx(tmp_path / "means.onnx"))).describe(bodies), atol=1e-6)


def test_without_a_file_beside_it_a_model_is_fed_as_sscd(tmp_path: Path) -> None:
    """ImageNet's mean and deviation, a threshold of 0.75, and 320 px unless the model itself states a side."""
    assert load(str(write_onnx(tmp_path / "a.onnx"))).preparation == Preparation(side_px=8)
    free = write_onnx(tmp_path / "b.onnx", shape=("N", 3, "H", "W"))
    assert load(str(free)).preparation == Preparation(320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.75)
    assert load(str(free)).describe([jpeg(noise(1))]).shape == (1, 3)


def test_pictures_are_many_and_models_take_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut into batches shows in nothing, nor that a model was exported for exactly four images."""
    bodies = [jpeg(noise(seed)) for seed in range(11)]
    whole = load(str(write_onnx(tmp_path / "a.onnx"))).describe(bodies)
    fixed = load(str(write_onnx(tmp_path / "b.onnx", shape=(4, 3, 8, 8), out=(4, 3)))).describe(bodies)
    np.testing.assert_allclose(fixed, whole, atol=1e-6)
    monkeypatch.setattr(descriptors, "BATCH_IMAGES", 3)
    np.testing.assert_allclose(load(str(tmp_path / "a.onnx")).describe(bodies), whole, atol=1e-6)
    assert len(load(str(tmp_path / "a.onnx")).describe([])) == 0


def test_an_image_is_seen_as_a_browser_shows_it() -> None:
    """Orientation is applied, transparency is white, and a large JPEG decoded at a scale looks like the whole one."""
    picture = noise(3, 640, 480)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(picture.rotate(-90, expand=True).resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(skewed(jpeg(picture, quality=95, exif=exif.tobytes()), 16) - upright).max() <= 6
    assert (skewed(png(Image.new("RGBA", (20, 20), (255, 0, 0, 0))), 4) == 255).all()


def test_real_photographs_are_decoded_at_a_scale() -> None:
    """The scaled decode of real JPEGs moves the pixels of a descriptor's input by less than two levels on average."""
    folder = real_data("image_text", "coco-mini", "train2017")
    for path in sorted(folder.glob("*.jpg"))[:10]:
        whole = decode(path.read_bytes(), 1 << 20).resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(skewed(path.read_bytes(), 64).astype(int) - np.asarray(whole).astype(int)).mean() < 2


def test_what_is_no_image_is_rejected(tmp_path: Path) -> None:
    """Hostile bodies end in a reason, never in the model."""
    descriptor = load(str(write_onnx(tmp_path / "a.onnx")))
    with pytest.raises(ImageRejected, match="not_image"):
        descriptor.describe([jpeg(noise(1)), b"<html>"])
    with pytest.raises(ImageRejected, match="corrupt_image"):
        descriptor.pixels(jpeg(noise(1))[:200])


def constant(values: list[float]) -> Any:
    return helper.make_node(
        "Constant", [], ["vectors"], value=helper.make_tensor("v", TensorProto.FLOAT, (1, len(values)), values)
    )


def test_broken_models_say_so_in_a_line(tmp_path: Path) -> None:
    """Another file, another input, another output, rows that are no vectors: what was expected, found, and where."""

    def use(path: Path, describe: bool) -> None:
        descriptor = load(str(path))
        if describe:
            descriptor.describe([jpeg(noise(1)), jpeg(noise(2))])

    def error(path: Path, describe: bool = False) -> str:
        with pytest.raises(InputError) as caught:
            use(path, describe)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))
        return str(caught.value)

    (tmp_path / "text.onnx").write_text("no model")
    assert "expected an ONNX model in one file, found none" in error(tmp_path / "text.onnx")
    (tmp_path / "text.pt").write_text("no archive")
    assert "expected a TorchScript archive" in error(tmp_path / "text.pt")
    assert "a file that ends with .onnx, .pt, .ts, .torchscript" in error(tmp_path / "weights.safetensors")
    assert "expected a file here, found nothing" in error(tmp_path / "missing.onnx")
    cast = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["floats"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vectors"]),
    ]
    octets = write_onnx(tmp_path / "octets.onnx", cast, kind=TensorProto.UINT8)
    assert "float images (N, 3, S, S), found images tensor(uint8)" in error(octets)
    assert "expected square images, found 8 x 9" in error(write_onnx(tmp_path / "oblong.onnx", shape=("N", 3, 8, 9)))
    shape = [helper.make_node("Identity", ["images"], ["vectors"])]
    assert "expected an output of shape (2, D), found (2, 3, 8, 8)" in error(
        write_onnx(tmp_path / "map.onnx", shape, out=("N", 3, 8, 8)), describe=True
    )
    assert "expected an output of shape (2, D), found (1, 3)" in error(
        write_onnx(tmp_path / "one.onnx", [constant([1, 2, 3])], out=(1, 3)), describe=True
    )
    zeros = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Sub", ["flat", "flat"], ["zero"]),
    ]
    zero = write_onnx(tmp_path / "zero.onnx", [*zeros, helper.make_node("Identity", ["zero"], ["vectors"])])
    assert "expected a finite vector for each picture, found [0. 0. 0.]" in error(zero, describe=True)
    undefined = write_onnx(tmp_path / "nan.onnx", [*zeros, helper.make_node("Div", ["zero", "zero"], ["vectors"])])
    assert "for 2 of 2" in error(undefined, describe=True)
    other = write_torchscript(tmp_path / "other.ts", lambda images: images.reshape(2, 192) @ images.new_ones(192, 3))
    (tmp_path / "other.json").write_text('{"side_px": 9}')
    assert "found a failure" in error(other, describe=True)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """Weights as torch.save writes them are refused before anything is unpickled, whatever their name says."""
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "opened",))  # type: ignore[return-value]

    for old in (True, False):
        torch.save({"weights": Evil()}, tmp_path / "weights.pt", _use_new_zipfile_serialization=not old)
        with pytest.raises(InputError, match=r"expected (a )?TorchScript"):
            load(str(tmp_path / "weights.pt"))
    assert not (tmp_path / "opened").exists()


def test_onnx_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    """A model that names a file of the machine as its weights does not read it."""
    (tmp_path / "secret.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    weights = helper.make_tensor("w", TensorProto.FLOAT, (1, 3), bytes(12), raw=True)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", str(tmp_path / "secret.bin")
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Add", ["flat", "w"], ["vectors"]),
    ]
    path = write_onnx(tmp_path / "external.onnx", nodes, constants=(weights,))
    with pytest.raises(InputError, match="expected an ONNX model in one file"):
        load(str(path))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"side_px": 0}, "side_px: expected 1 to 4096, found 0"),
        ({"side_px": 9}, "side_px: expected 8, which"),
        ({"mean": [1, 2]}, "mean: expected three numbers, found [1, 2]"),
        ({"std": [1, 0, 1]}, "std: expected three numbers above 0, found [1, 0, 1]"),
        ({"threshold": 75}, "threshold: expected a cosine from -1 to 1, found 75"),
        ({"similarity": "euclidean"}, "similarity: expected cosine"),
        ({"sha256": "0" * 64}, "found that of another model; keep the two together"),
    ],
)
def test_what_stands_beside_a_model_is_checked(tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    """A preparation that cannot be, or belongs to another model, is one line with the file's name."""
    path = write_onnx(tmp_path / "a.onnx")
    (tmp_path / "a.json").write_text(json.dumps(facts))
    with pytest.raises(InputError) as caught:
        load(str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(sidecar_name(str(path)))


def test_distances_are_one_less_the_cosine() -> None:
    """From 0 to 2, to six decimals; rounding never makes one negative."""
    found = distances(np.array([1.0000001, 1.0, 0.75, 0.0, -1.0], np.float32))
    assert found.tolist() == [0.0, 0.0, 0.25, 1.0, 2.0]
    assert not np.signbit(found).any()
    shown = scaled(np.zeros((2, 4, 4, 3), np.uint8), Preparation(4, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0)))
    assert shown[0, :, 0, 0].tolist() == [-1.0, -2.0, -0.5]


@pytest.mark.parametrize(("package", "name"), [("onnxruntime", "a.onnx"), ("torch", "a.pt")])
def test_a_package_that_is_not_installed_is_named(tmp_path: Path, package: str, name: str) -> None:
    """Without the extra, the error names the package, and the import of wit.descriptors needs neither."""
    write_onnx(tmp_path / "a.onnx")
    (tmp_path / "a.pt").write_bytes(b"")
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import wit.descriptors\n"
        f"assert not {{'torch', 'onnxruntime', 'faiss'}} & {{m for m in sys.modules if sys.modules[m]}}\n"
        f"try: wit.descriptors.load({str(tmp_path / name)!r})\n"
        "except ImportError as error: print(error.name)"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == package
