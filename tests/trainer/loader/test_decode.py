from __future__ import annotations

import io
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import trainer.loader.decode
from tests.support import real_data
from trainer.loader.decode import (
    Crop,
    Crops,
    decode_center,
    decode_crop,
    decode_crops,
    decode_short_side,
    random_crop,
    short_side_size,
)
from wit.image import ImageRejected


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400))
def test_the_short_side_fits_exactly(width: int, height: int, side: int) -> None:
    """The shorter side becomes what is asked, and the longer keeps the shape to within a pixel."""
    new_width, new_height = short_side_size(width, height, side)
    assert min(new_width, new_height) == side
    assert abs(new_width * height - new_height * width) < max(width, height)


@given(st.integers(8, 30), st.integers(8, 30), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_crops_lie_within_the_picture(width: int, height: int, x: float, y: float) -> None:
    """Any place in [0, 1) gives a whole square; 0 is the first corner."""
    pixels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    assert random_crop(pixels, 8, x, y).shape == (8, 8, 3)
    assert np.array_equal(random_crop(pixels, 8, 0, 0), pixels[:8, :8])


def test_crops_reach_every_place() -> None:
    """The last place of the longer side is reached, and the middle is the middle."""
    pixels = np.zeros((8, 20, 3), np.uint8) + np.arange(20, dtype=np.uint8)[None, :, None]
    assert random_crop(pixels, 8, 0.999, 0)[0, :, 0].tolist() == list(range(12, 20))
    body = encoded(Image.fromarray(pixels), "PNG")
    assert decode_center(body, 8)[0, 0].tolist() == list(range(6, 14))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_every_format_of_a_shard_is_decoded(image_format: str) -> None:
    """The pixels are RGB, resized, and those of the picture."""
    pixels = decode_short_side(encoded(gradient(90, 60), image_format), 30)
    wanted = np.asarray(gradient(90, 60).resize((45, 30), Image.Resampling.BICUBIC)).astype(int)
    assert pixels.shape == (30, 45, 3)
    assert np.abs(pixels - wanted).mean() < (12 if image_format == "GIF" else 4)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16"])
def test_other_pixel_kinds_become_rgb(mode: str) -> None:
    """Grey, palette and transparent pictures end as three channels, without a warning."""
    image = gradient(40, 40).convert("L").convert("I;16") if mode == "I;16" else gradient(40, 40).convert(mode)
    options = {"transparency": bytes(range(256))} if mode == "P" else {}
    assert decode_short_side(encoded(image, "PNG", **options), 16).shape == (16, 16, 3)


def test_draft_is_near_exact() -> None:
    """The scaled JPEG decode differs by a few grey levels at most on a smooth picture."""
    body = encoded(gradient(512, 384), "JPEG", quality=95)
    exact, draft = (decode_short_side(body, 48, mode).astype(int) for mode in ("exact", "draft"))
    assert exact.shape == draft.shape
    assert np.abs(exact - draft).max() <= 4


BOMB = encoded(Image.new("1", (20_000, 20_000)), "PNG")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "not_image"), (b"<html>", "not_image"), (encoded(gradient(64, 64), "JPEG")[:300], "corrupt_image"),
     (encoded(gradient(64, 64), "PNG")[:-40], "corrupt_image"), (BOMB, "too_many_pixels"),
     (encoded(Image.new("1", (40_000, 2)), "PNG"), "too_many_pixels")],
    ids=["empty", "html", "cut JPEG", "cut PNG", "bomb", "strip"],
)  # fmt: skip
def test_what_cannot_be_trained_on_has_a_reason(body: bytes, reason: str) -> None:
    """Empty, foreign, cut and oversized bodies are rejected with a reason, before they cost memory."""
    with pytest.raises(ImageRejected) as rejected:
        decode_short_side(body, 32)
    assert rejected.value.reason == reason


def test_hostile_pictures_are_decoded_or_rejected() -> None:
    """Pillow's own collection of bombs, truncations and fuzzer's finds ends in pixels or in a reason."""
    outcomes = {"decoded": 0, "rejected": 0}
    for path in sorted(real_data("hostile", "pillow").rglob("*")):
        if not path.is_file():
            continue
        try:
            assert min(decode_short_side(path.read_bytes(), 16).shape[:2]) == 16
            outcomes["decoded"] += 1
        except ImageRejected:
            outcomes["rejected"] += 1
    assert outcomes["decoded"] > 50
    assert outcomes["rejected"] > 20


# --- modes, and windows ---

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with something to get wrong at every pixel, and shapes of several sizes."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(np.clip(np.asarray(small) + rng.integers(-30, 31, (height, width, 3)), 0, 255).astype("u1"))


def by_pillow(body: bytes, side_px: int) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(body)).convert("RGB")
    return np.asarray(image.resize(short_side_size(*image.size, side_px), Image.Resampling.BICUBIC))


def middle_of(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (round((length - side) / 2) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def psnr(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    difference = np.mean((left.astype(float) - right.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(difference, 1e-9)))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.sampled_from(["PNG", "JPEG", *SUBSAMPLINGS]))
def test_exact_is_pillow_bit_by_bit(width: int, height: int, side: int, kind: str) -> None:
    """Any size, enlarged or reduced, and any format: the decoder's pixels and the resampling are Pillow's own."""
    assume(max(width, height) <= 16 * min(width, height))
    image = noise(width, height, width)
    body = encoded(image, kind) if kind in ("PNG", "JPEG") else encoded(image, "JPEG", subsampling=kind)
    assert np.array_equal(decode_short_side(body, side), by_pillow(body, side))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(20, 90), st.integers(20, 90), st.integers(1, 40), st.integers(0, 20),
    st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    st.sampled_from(["exact", "draft", "fast"]), st.sampled_from(SUBSAMPLINGS),
)  # fmt: skip
def test_a_crop_is_cut_from_the_whole(
    width: int, height: int, side: int, more: int, place: tuple[float, float], mode: str, subsampling: str
) -> None:
    """What is resampled for a crop alone equals the same place of the whole picture, in every mode."""
    body = encoded(noise(width, height), "JPEG", subsampling=subsampling)
    crop = decode_crop(body, Crop(side + more, side, *place), mode)
    whole = random_crop(decode_short_side(body, side + more, mode), side, *place)
    assert np.array_equal(crop, whole.transpose(2, 0, 1))
    middle = middle_of(decode_short_side(body, side, mode), side)
    out = np.zeros((2, 3, side, side), np.uint8)
    assert decode_center(body, side, mode, out[1]).base is out
    assert np.array_equal(out[1], middle.transpose(2, 0, 1))
    assert not out[0].any()


def test_large_pictures_are_resampled_alike() -> None:
    """Pillow keeps a picture of more than 16 MB in pieces, which the kernels cannot read: the pixels are the same."""
    image = noise(2300, 2000)
    body = encoded(image, "PNG", compress_level=0)
    crop = decode_crop(body, Crop(70, 64, 0.3, 0.9))
    assert np.array_equal(crop, random_crop(by_pillow(body, 70), 64, 0.3, 0.9).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["grey", "progressive", "cmyk", *SUBSAMPLINGS])
def test_scaled_decodes_are_near_exact_for_every_kind_of_jpeg(kind: str) -> None:
    """Grey, progressive, CMYK (Pillow's to decode) and each subsampling of chroma: a smooth picture stays as it is."""
    image = gradient(400, 300).convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
    options = {"subsampling": kind} if kind in SUBSAMPLINGS else {"progressive": kind == "progressive"}
    body = encoded(image, "JPEG", quality=95, **options)
    exact = decode_short_side(body, 64)
    for mode in ("draft", "fast"):
        assert np.abs(decode_short_side(body, 64, mode).astype(int) - exact).max() <= 5, mode


def test_modes_on_photographs() -> None:
    """Exact is Pillow's, bit by bit; draft is 40 dB from it, fast 36 dB, and both 45 and 42 in the mean."""
    found: dict[str, list[float]] = {"draft": [], "fast": []}
    for path in sorted(real_data("image_text", "coco-mini", "train2017").glob("*.jpg"))[:40]:
        body = path.read_bytes()
        exact = decode_short_side(body, 160)
        assert np.array_equal(exact, by_pillow(body, 160))
        for mode, values in found.items():
            values.append(psnr(decode_short_side(body, 160, mode), exact))
    print({mode: (min(values), np.mean(values)) for mode, values in found.items()})
    assert min(found["draft"]) > 40
    assert np.mean(found["draft"]) > 45
    assert min(found["fast"]) > 36
    assert np.mean(found["fast"]) > 42


def test_a_jpeg_of_endless_scans_is_rejected() -> None:
    """A progressive file may repeat a scan; each costs a pass over the picture, and a hundred are enough."""
    body = encoded(noise(64, 64), "JPEG", progressive=True)
    at = body.rindex(b"\xff\xda")
    body = body[:at] + body[at:-2] * 200 + body[-2:]
    with pytest.raises(ImageRejected, match="scans"):
        decode_crop(body, Crop(32, 32, 0, 0), "fast")


def test_hostile_pictures_end_alike_in_every_mode() -> None:
    """What `exact` rejects, the other modes reject, for the same reason; what it decodes, they decode to its size."""
    for path in sorted(real_data("hostile", "pillow").rglob("*")):
        if path.is_file() and path.stat().st_size < 1 << 20:
            outcomes = {_outcome(path.read_bytes(), mode) for mode in ("exact", "draft", "fast")}
            assert len(outcomes) == 1, (path, outcomes)


def _outcome(body: bytes, mode: str) -> str | tuple[int, ...]:
    try:
        return decode_short_side(body, 20, mode).shape
    except ImageRejected as rejected:
        return rejected.reason


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8), st.booleans())
def test_damaged_jpegs_are_pixels_or_a_reason(place: int, bytes_there: bytes, is_cut: bool) -> None:
    """Whatever is written into a file, or cut out: pixels whose short side fits, or a reason."""
    whole = encoded(noise(120, 90), "JPEG", quality=90)
    at = place % len(whole)
    body = whole[:at] + (b"" if is_cut else bytes_there + whole[at + len(bytes_there) :])
    for mode in ("exact", "draft", "fast"):
        outcome = _outcome(body, mode)
        assert outcome in ("not_image", "corrupt_image", "too_many_pixels") or min(outcome[:2]) == 20


class _Guarded:
    """Room with a fence behind it, which the kernels, who check nothing, must not touch."""

    def __init__(self) -> None:
        self.fenced: list[NDArray[np.uint8]] = []

    def take(self, name: str, kind: type[np.generic], num: int) -> NDArray[np.generic]:
        size = np.dtype(kind).itemsize * num
        self.fenced.append(np.full(size + 64, 0xAA, np.uint8))
        return self.fenced[-1][:size].view(kind)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 70), st.integers(0, 50),
    st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    st.sampled_from(["exact", "draft", "fast"]), st.sampled_from([*SUBSAMPLINGS, "PNG"]),
)  # fmt: skip
def test_kernels_stay_within_their_room(
    width: int, height: int, side: int, more: int, place: tuple[float, float], mode: str, kind: str
) -> None:
    """Whatever the sizes, enlarged or reduced, nothing is written behind the memory that a kernel was given."""
    assume(max(width, height) <= 16 * min(width, height))
    image = noise(width, height)
    body = encoded(image, "PNG") if kind == "PNG" else encoded(image, "JPEG", subsampling=kind)
    out = np.full(3 * side * side + 64, 0xAA, np.uint8)
    guarded = _Guarded()
    with patch.object(trainer.loader.decode, "_ROOM", guarded):
        decode_crop(body, Crop(side + more, side, *place), mode, out[:-64].reshape(3, side, side))
    assert all((fenced[-64:] == 0xAA).all() for fenced in [*guarded.fenced, out])


KINDS: dict[str, dict[str, object]] = {
    "plain": {}, "grey": {}, "whole chroma": {"subsampling": 0}, "half chroma": {"subsampling": 1},
    "own tables": {"optimize": True, "quality": 40}, "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True}, "cut": {}, "empty": {}, "PNG": {},
}  # fmt: skip
BY_ITSELF = {"progressive", "cut", "empty", "PNG"}


def picture(kind: str, width: int, height: int) -> bytes:
    image = noise(width, height, width).convert("L" if kind == "grey" else "RGB")
    body = encoded(image, "PNG" if kind == "PNG" else "JPEG", **KINDS[kind])
    return {"cut": body[: len(body) - 9], "empty": b""}.get(kind, body)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KINDS]), st.integers(9, 120), st.integers(9, 120),
            st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        ),
        max_size=6,
    ),
    st.integers(4, 40), st.integers(0, 20), st.sampled_from(["exact", "draft", "fast"]),
)  # fmt: skip
def test_crops_of_many_are_those_of_each(
    each: list[tuple[str, int, int, tuple[float, float]]], side: int, more: int, mode: str
) -> None:
    """Baseline JPEGs, one behind the other, give what each gives by itself, within their room; the others nothing."""
    bodies = [picture(*one[:3]) for one in each]
    ends = np.cumsum([0, *map(len, bodies)])
    data, spans = np.frombuffer(b"".join(bodies) + b"\0", np.uint8), np.stack([ends[:-1], ends[1:]], axis=1)
    out = np.full((len(each), 3, side, side), 0xAA, np.uint8)
    guarded = _Guarded()
    with patch.object(trainer.loader.decode, "_ROOM", guarded):
        places = np.array([one[3] for one in each]).reshape(-1, 2)
        done = decode_crops(data, spans, Crops(side + more, side, places), mode, out)
    assert all((fenced[-64:] == 0xAA).all() for fenced in guarded.fenced)
    for (kind, width, height, place), body, is_done, found in zip(each, bodies, done, out, strict=True):
        may_be_pillows = mode == "exact" and height > 2 * width
        assert is_done or kind in BY_ITSELF or may_be_pillows or max(width, height) > 16 * min(width, height)
        if is_done:
            assert kind not in BY_ITSELF
            assert np.array_equal(found, decode_crop(body, Crop(side + more, side, *place), mode))
        elif mode != "exact":
            assert (found == 0xAA).all()


def test_crops_of_many_heed_the_limits() -> None:
    """A strip, and a header that claims more pixels than are decoded, are left to be said by `decode_crop`."""
    huge = bytearray(encoded(gradient(64, 64), "JPEG"))
    frame = huge.index(b"\xff\xc0")
    huge[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    for body in (encoded(gradient(1700, 100), "JPEG"), bytes(huge)):
        for mode in ("exact", "fast"):
            out = np.zeros((1, 3, 8, 8), np.uint8)
            spans = np.array([[0, len(body)]])
            assert not decode_crops(np.frombuffer(body, np.uint8), spans, Crops(8, 8, np.zeros((1, 2))), mode, out)[0]
            with pytest.raises(ImageRejected, match="too_many_pixels"):
                decode_crop(body, Crop(8, 8, 0, 0), mode)
