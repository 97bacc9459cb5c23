"""Any image that Pillow opens as 8-bit RGB, grey or CMYK, and from there in sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
NO_SCALE = "not a picture on any stated scale"


class NoPicture(Exception):
    """Pixels that are no colours: 32-bit integers, floating point numbers."""


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey image as 8-bit grey: its high bytes, as Pillow does for 16-bit RGB."""
    values_HW = np.asarray(image)
    if image.mode == "I" and (values_HW.min() < 0 or values_HW.max() > 0xFFFF):
        raise NoPicture(f"32-bit integers: {NO_SCALE}")
    return Image.fromarray((values_HW.astype(np.uint16) >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _profile(data: bytes) -> ImageCms.ImageCmsProfile | None:
    """Return an embedded profile, or None when there is none, it is sRGB already, or it is broken."""
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return None if "sRGB" in ImageCms.getProfileDescription(profile) else profile
    except (ImageCms.PyCMSError, OSError):
        return None


def _changes_colours(data: bytes) -> bool:
    return _profile(data) is not None


def _transform(data: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what takes an image of a mode from an embedded profile to sRGB; None: the profile is of another kind."""
    profile = _profile(data)
    try:
        return None if profile is None else ImageCms.buildTransform(profile, _srgb(), mode, "RGB")
    except ImageCms.PyCMSError:
        return None


# Most files that have a profile have one of a few; a transform takes long to make, and threads may share it.
_MAX_CACHED_BYTES = 1 << 16
_cached_changes_colours = lru_cache(maxsize=64)(_changes_colours)
_cached_transform = lru_cache(maxsize=64)(_transform)


def changes_colours(data: bytes) -> bool:
    """Return whether an embedded profile is there, not broken, and another than sRGB."""
    return (_cached_changes_colours if len(data) <= _MAX_CACHED_BYTES else _changes_colours)(data)


def to_srgb(image: Image.Image, data: bytes) -> Image.Image:
    """Return an RGB, grey or CMYK image in sRGB; as it is when its embedded profile is for another kind of image."""
    transform = (_cached_transform if len(data) <= _MAX_CACHED_BYTES else _transform)(data, image.mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only an in-place conversion returns None
    return converted.convert("L") if image.mode == "L" else converted


def _lab_to_srgb(image: Image.Image) -> Image.Image:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    converted = ImageCms.profileToProfile(image, lab, _srgb(), outputMode="RGB")
    assert converted is not None
    return converted


def to_plain(image: Image.Image) -> Image.Image:
    """Return an image as 8-bit RGB, grey or CMYK, without transparency; raises NoPicture."""
    if image.mode in ("F", "HSV"):
        raise NoPicture(f"{image.mode} pixels: {NO_SCALE}")
    if image.mode.startswith("I"):
        return _to_8_bit(image)
    if image.mode == "LAB":
        return _lab_to_srgb(image)
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        plain = _on_white(image)
        return plain.convert("L") if image.mode in _GREY_MODES else plain
    if image.mode in ("RGB", "L", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
