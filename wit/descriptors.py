"""Learned descriptors: a picture as a vector whose cosine with that of a copy is high.

A descriptor is one file, ONNX (run by ONNX Runtime) or TorchScript, that takes float32 images (N, 3, S, S) and gives
vectors (N, D). FILE.json beside it (detector.json beside detector.onnx) says how pictures are prepared; without one it
is as SSCD's authors recommend for theirs: pictures skewed to a square of 320 px, the mean and deviation of ImageNet, a
cosine above 0.75 means a copy (github.com/facebookresearch/sscd-copy-detection, README).

What is trusted: an ONNX file is data, and one that refers to other files is refused. A TorchScript archive is a
program for PyTorch's interpreter, which can read and write files: take it from where you would take code. A pickle,
as torch.save writes it, is never opened.

Shapes: N images, S image side in px, D size of a vector.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from wit import manifest
from wit.errors import InputError
from wit.image import decode
from wit.storage import exists, read_bytes

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

BATCH_IMAGES = 32  # at 320 px 39 MB of pixels, and about 1 GB of activations in a ResNet-50
ONNX_SUFFIX, TORCHSCRIPT_SUFFIXES = ".onnx", (".pt", ".ts", ".torchscript")
MAX_SIDE_PX = 4096


@dataclass(frozen=True)
class Preparation:
    """How pictures become a descriptor's input, and from which cosine on two of them are taken for copies."""

    side_px: int = 320
    """Pictures are skewed to a square of this side, by triangle-filtered (bilinear) resampling."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of RGB in [0, 1]."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    threshold: float = 0.75


@dataclass(frozen=True)
class Descriptor:
    """A loaded model; `run` takes float32 (N, 3, S, S) and returns (N, D)."""

    path: str
    preparation: Preparation
    sha256: str
    """Of the model's file, hex."""
    run: Callable[[F32], Any]

    def pixels(self, body: bytes) -> U8:
        """Return an image as the model is shown it, before its values are scaled: (S, S, 3); raises ImageRejected."""
        return skewed(body, self.preparation.side_px)

    def vectors(self, pixels_NSS3: U8) -> F32:
        """Return the vectors (N, D) of prepared pictures, of unit length.

        Raises InputError when the model fails, or gives anything but a finite row that is not zero for each picture.
        """
        batches = [
            self._batch(pixels_NSS3[start : start + BATCH_IMAGES]) for start in range(0, len(pixels_NSS3), BATCH_IMAGES)
        ]
        return np.concatenate(batches) if batches else np.empty((0, 0), np.float32)

    def describe(self, bodies: Sequence[bytes]) -> F32:
        """Return the vectors (N, D) of images, of unit length; raises ImageRejected for the first that is none."""
        side = self.preparation.side_px
        pixels_NSS3 = np.empty((len(bodies), side, side, 3), np.uint8)
        for place, body in enumerate(bodies):
            pixels_NSS3[place] = self.pixels(body)
        return self.vectors(pixels_NSS3)

    def _batch(self, pixels_NSS3: U8) -> F32:
        found = np.asarray(self.run(scaled(pixels_NSS3, self.preparation)))
        if found.ndim != 2 or len(found) != len(pixels_NSS3) or not found.shape[1]:
            shape = f"({len(pixels_NSS3)}, D)"
            raise InputError(f"{self.path}: expected an output of shape {shape}, found {found.shape}; check the model")
        vectors_ND = found.astype(np.float64)
        lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths_N1) & (lengths_N1 > 0)))
        if len(bad):
            raise InputError(
                f"{self.path}: expected a finite vector for each picture, found {vectors_ND[bad[0]][:3]}… for "
                f"{len(bad)} of {len(found)}; check the model"
            )
        unit_ND: F32 = (vectors_ND / lengths_N1).astype(np.float32)
        return unit_ND


def skewed(body: bytes, side_px: int) -> U8:
    """Return an image as RGB (side, side, 3), its aspect given up; raises ImageRejected.

    A JPEG is decoded at a scale at which both sides are still twice what is needed.
    """
    image = decode(body, 2 * side_px)
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BILINEAR))


def scaled(pixels_NSS3: U8, preparation: Preparation) -> F32:
    """Return pictures as a model takes them: float32 (N, 3, S, S), less the mean, over the deviation."""
    mean, std = (np.asarray(values, np.float32) for values in (preparation.mean, preparation.std))
    values = (pixels_NSS3.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def distances(similarities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return cosines as distances, 1 - cosine, to six decimals: from 0 to 2."""
    return np.round(1 - np.asarray(similarities, np.float64), 6).clip(0, None) + 0.0  # not -0.0


def load(path: str, num_threads: int = 1) -> Descriptor:
    """Return the descriptor in an ONNX or TorchScript file, prepared for as FILE.json beside it says.

    It runs on the CPU with `num_threads` (processes share the work above; for TorchScript this holds for the whole
    process). Raises InputError when the file is neither, is pickled, or takes other images than it should.
    """
    lower = path.lower()
    if lower.endswith(ONNX_SUFFIX):
        data = read_bytes(path)
        run, declared_px = _open_onnx(path, data, num_threads)
    elif lower.endswith(TORCHSCRIPT_SUFFIXES):
        data = read_bytes(path)
        run, declared_px = _open_torchscript(path, data, num_threads), None
    else:
        endings = ", ".join((ONNX_SUFFIX, *TORCHSCRIPT_SUFFIXES))
        raise InputError(f"{path}: expected a descriptor, a file that ends with {endings}, found another name")
    sha256 = hashlib.sha256(data).hexdigest()
    return Descriptor(path, read_preparation(path, sha256, declared_px), sha256, run)


def sidecar_name(path: str) -> str:
    """Return where the preparation of a descriptor's pictures is written: detector.json for detector.onnx."""
    return path.rpartition(".")[0] + ".json"


def read_preparation(path: str, sha256: str, declared_px: int | None) -> Preparation:
    """Return how pictures are prepared for a descriptor; `declared_px`: the side that the model itself states.

    Raises InputError for a file beside it that says no such thing, or belongs to another model.
    """
    default = Preparation() if declared_px is None else replace(Preparation(), side_px=declared_px)
    url = sidecar_name(path)
    if not exists(url):
        return default
    facts = manifest.read(url)
    for name, (expected, fits) in _RULES.items():
        if name in facts and not fits(facts[name]):
            raise InputError(f"{url}: {name}: expected {expected}, found {str(facts[name])[:60]}")
    if facts.get("sha256", sha256) != sha256:
        raise InputError(f"{url}: expected what belongs to {path}, found that of another model; keep the two together")
    found = Preparation(
        side_px=facts.get("side_px", default.side_px),
        mean=tuple(map(float, facts.get("mean", default.mean))),  # type: ignore[arg-type]
        std=tuple(map(float, facts.get("std", default.std))),  # type: ignore[arg-type]
        threshold=float(facts.get("threshold", default.threshold)),
    )
    if declared_px not in (None, found.side_px):
        raise InputError(f"{url}: side_px: expected {declared_px}, which {path} takes, found {found.side_px}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_triple(value: Any, low: float) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(v) and low < v < 1e6 for v in value)


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "side_px": (f"1 to {MAX_SIDE_PX}", lambda value: type(value) is int and 1 <= value <= MAX_SIDE_PX),
    "mean": ("three numbers", lambda value: _is_triple(value, -1e6)),
    "std": ("three numbers above 0", lambda value: _is_triple(value, 0)),
    "threshold": ("a cosine from -1 to 1", lambda value: _is_number(value) and -1 <= value <= 1),
    "sha256": ("64 hexadecimal digits", lambda value: isinstance(value, str) and len(value) == 64),
    "similarity": ("cosine, the only one that is known here", lambda value: value == "cosine"),
}


def _open_onnx(path: str, data: bytes, num_threads: int) -> tuple[Callable[[F32], Any], int | None]:
    """Return (what runs a model, the image side that it declares)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    options.log_severity_level = 4  # its failures are raised; what it warns of, a user cannot mend
    failures = _onnx_failures()
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise InputError(f"{path}: expected an ONNX model in one file, found none: {_short(error)}") from error
    (image, *others), output = session.get_inputs(), session.get_outputs()[0]
    shape = list(image.shape)
    if others or image.type != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in session.get_inputs())
        raise InputError(f"{path}: expected one input, float images (N, 3, S, S), found {found}")
    if isinstance(shape[2], int) and isinstance(shape[3], int) and shape[2] != shape[3]:
        raise InputError(f"{path}: expected square images, found {shape[2]} x {shape[3]}")

    def run(images_N3SS: F32) -> Any:
        try:
            return session.run([output.name], {image.name: images_N3SS})[0]
        except failures as error:
            raise _failed(path, images_N3SS, error) from error

    return _in_batches_of(run, shape[0]), shape[2] if isinstance(shape[2], int) else None


def _onnx_failures() -> tuple[type[Exception], ...]:
    """Return every exception of ONNX Runtime's own: they share no base class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def _in_batches_of(run: Callable[[F32], Any], size: int | str | None) -> Callable[[F32], Any]:
    """Return `run` for a model that takes a fixed number of images: it is shown as many, the last ones zeros."""
    if not isinstance(size, int):
        return run

    def padded(images_N3SS: F32) -> Any:
        return np.concatenate(
            [_run_padded(run, images_N3SS[at : at + size], size) for at in range(0, len(images_N3SS), size)]
        )

    return padded


def _run_padded(run: Callable[[F32], Any], images_N3SS: F32, size: int) -> Any:
    padding = np.zeros((size - len(images_N3SS), *images_N3SS.shape[1:]), np.float32)
    return run(np.concatenate([images_N3SS, padding]))[: len(images_N3SS)]


def _open_torchscript(path: str, data: bytes, num_threads: int) -> Callable[[F32], Any]:
    import torch

    _require_torchscript(path, data)
    torch.set_num_threads(num_threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # published descriptors are TorchScript all the same
            model = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: expected TorchScript, found what PyTorch cannot load: {_short(error)}") from error

    def run(images_N3SS: F32) -> Any:
        try:
            with torch.inference_mode():
                return model(torch.from_numpy(images_N3SS)).float().numpy()
        except (RuntimeError, TypeError, AttributeError) as error:
            raise _failed(path, images_N3SS, error) from error

    return run


def _require_torchscript(path: str, data: bytes) -> None:
    """Raise InputError unless an archive holds TorchScript's code: torch.save's has a pickle, which is never opened."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: expected a TorchScript archive, found something else; export the model") from error
    if "constants.pkl" not in names or not any(name.startswith("code/") for name in names):
        raise InputError(
            f"{path}: expected TorchScript, found weights as torch.save pickles them, which are never opened; "
            "export the model by torch.jit.save or torch.onnx.export"
        )


def _failed(path: str, images_N3SS: F32, error: Exception) -> InputError:
    shape = " x ".join(map(str, images_N3SS.shape))
    return InputError(f"{path}: expected a vector for each of {shape} float images, found a failure: {_short(error)}")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
