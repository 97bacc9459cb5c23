"""Bodies to stored images: colours, orientation, limits, and files made to break decoders."""

from __future__ import annotations

import io
import math
import resource
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.support import real_data
from wit.image import (
    CORRUPT_IMAGE,
    NOT_IMAGE,
    TOO_MANY_PIXELS,
    ImageRejected,
    Limits,
    entropy_bits,
    inspect,
    prepare,
    sniff,
)

CORNERS = np.array(  # four corners that tell every turn and flip apart
    [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8
)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Four flat quarters: red, green, blue, white."""
    return Image.fromarray(np.kron(CORNERS, np.ones((height // 2, width // 2, 1), np.uint8)))


def encode(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def decode(body: bytes) -> Image.Image:
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        return image.copy()


def luma(body: bytes) -> np.ndarray:
    """What a grey screen shows: Y as it lies in a JPEG, else ITU-R 601 luma."""
    with Image.open(io.BytesIO(body)) as image:
        image.draft("L", None)
        return np.asarray(image.convert("L"))


def pixel(body: bytes, x: float, y: float) -> tuple[int, ...]:
    """The RGB value at a place given as fractions of width and height."""
    image = decode(body).convert("RGB")
    value = image.getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(value, tuple)
    return value


def close(found: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 6) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_image_that_needs_no_change_is_stored_byte_for_byte(name: str, mode: str) -> None:
    """An upright 8-bit RGB or grey JPEG, PNG or WebP within the limit keeps its own bytes."""
    image = picture() if name == "WEBP" else picture().convert(mode)  # WebP has no grey
    body = encode(image, name)
    prepared = prepare(body, Limits())
    assert prepared.body == body
    assert prepared.sha256 == prepared.original_sha256
    assert (prepared.format, prepared.width, prepared.height) == (name.lower(), 64, 48)
    assert prepared.entropy == pytest.approx(entropy_bits(luma(body)), abs=0.02 if name == "JPEG" else 0)


@pytest.mark.parametrize("name", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_become_jpeg(name: str) -> None:
    """A stored image is a JPEG, PNG or WebP; the others are decoded and encoded as JPEG."""
    prepared = prepare(encode(picture(), name), Limits())
    assert (prepared.format, prepared.original_format) == ("jpeg", name.lower())
    assert sniff(prepared.body) == "jpeg"
    assert close(pixel(prepared.body, 0.25, 0.25), (255, 0, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_applied(orientation: int, name: str) -> None:
    """Whatever the EXIF orientation, the stored image shows what a viewer shows, and its sides follow."""
    upright = picture(64, 32)
    turned: list[Image.Transpose] = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }[orientation]  # fmt: skip
    stored = upright
    for turn in turned:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = prepare(encode(stored, name, exif=exif, quality=95), Limits())
    assert (prepared.width, prepared.height) == (64, 32)
    assert (prepared.original_width, prepared.original_height) == (64, 32)
    corners = [pixel(prepared.body, x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    assert all(
        close(found, tuple(expected.tolist()), 12)
        for found, expected in zip(corners, CORNERS.reshape(4, 3), strict=True)
    )
    assert 0x0112 not in decode(prepared.body).getexif()


def test_cmyk_and_palette_and_alpha_have_known_colours() -> None:
    """CMYK and palettes become RGB, transparency is laid on white."""
    cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    assert close(pixel(prepare(encode(cmyk, "JPEG"), Limits()).body, 0.5, 0.5), (255, 0, 0))
    palette = picture().quantize(4)
    assert close(pixel(prepare(encode(palette, "PNG"), Limits()).body, 0.75, 0.25), (0, 255, 0))
    half = Image.new("RGBA", (64, 64), (0, 0, 255, 128))
    assert close(pixel(prepare(encode(half, "PNG"), Limits()).body, 0.5, 0.5), (127, 127, 255))
    keyed = encode(Image.new("RGB", (64, 64), (10, 20, 30)), "PNG", transparency=(10, 20, 30))
    assert close(pixel(prepare(keyed, Limits()).body, 0.5, 0.5), (255, 255, 255))
    grey_alpha = encode(Image.new("LA", (64, 64), (100, 0)), "PNG")
    stored = decode(prepare(grey_alpha, Limits()).body)
    assert stored.mode == "L"
    assert stored.getpixel((32, 32)) == 255


def png_16_bit(values_HWC: np.ndarray) -> bytes:
    """A 16-bit PNG, grey or RGB, written by hand: Pillow writes only the grey one."""
    height, width, channels = values_HWC.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_images_keep_their_tones() -> None:
    """16-bit grey and RGB become 8-bit by their high bytes: a ramp stays a ramp, and does not turn white."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    grey = np.repeat(ramp[None, :, None], 64, axis=0)
    stored = np.asarray(decode(prepare(png_16_bit(grey), Limits()).body)).astype(int)
    assert np.abs(stored[32] - (ramp >> 8)).max() <= 3
    colour = np.concatenate([grey, grey[:, ::-1], grey], axis=2)
    rgb = np.asarray(decode(prepare(png_16_bit(colour), Limits()).body)).astype(int)
    assert np.abs(rgb[32, 40:216, 1] - (ramp[::-1] >> 8)[40:216]).max() <= 6


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """A profile like sRGB whose red and green change places."""
    srgb = srgb_profile()
    at = {name: struct.unpack_from(">I", srgb, 4 + srgb.index(name, 128))[0] for name in (b"rXYZ", b"gXYZ")}
    swapped = bytearray(srgb.replace(b"s\0R\0G\0B", b"x\0R\0G\0B").replace(b"sRGB built-in", b"xxxx built-in"))
    red, green = at[b"rXYZ"] + 8, at[b"gXYZ"] + 8  # 12 bytes of XYZ follow a tag's type and its reserved word
    swapped[red : red + 12], swapped[green : green + 12] = srgb[green : green + 12], srgb[red : red + 12]
    return bytes(swapped)


def test_an_embedded_profile_is_carried_to_srgb() -> None:
    """A profile that swaps red and green is honoured, an sRGB profile changes nothing, a broken one is ignored."""
    found = pixel(prepare(encode(picture(), "PNG", icc_profile=swapped_profile()), Limits()).body, 0.25, 0.25)
    assert close(found, (0, 255, 0), 12)
    for profile in (srgb_profile(), b"no profile at all" * 20):
        body = encode(picture(), "PNG", icc_profile=profile)
        assert prepare(body, Limits()).body == body


def test_animations_are_counted_and_give_their_first_frame() -> None:
    """GIF, WebP and PNG animations: the frames are counted, the first is stored as a JPEG."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((200, 30, 30), (30, 200, 30), (30, 30, 200))]
    for name in ("GIF", "WEBP", "PNG"):
        body = encode(frames[0], name, save_all=True, append_images=frames[1:], duration=100)
        prepared = prepare(body, Limits())
        assert (prepared.num_frames, prepared.format) == (3, "jpeg")
        assert close(pixel(prepared.body, 0.5, 0.5), (200, 30, 30), 12)
        assert inspect(body).num_frames == 3


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_resizing_keeps_the_picture(name: str) -> None:
    """The longer side comes down to the limit; against a full decode and Lanczos the picture is the same (> 35 dB)."""
    y_HW, x_HW = np.mgrid[0:900, 0:1600] / 100
    waves = np.stack([np.sin(x_HW), np.cos(y_HW + x_HW), np.sin(y_HW)], axis=2)
    image = Image.fromarray(((waves + 1) * 127.5).astype(np.uint8))
    prepared = prepare(encode(image, name, quality=95), Limits(side_px=256))
    assert (prepared.width, prepared.height, prepared.original_width) == (256, 144, 1600)
    exact = np.asarray(image.resize((256, 144), Image.Resampling.LANCZOS)).astype(float)
    error = np.mean((np.asarray(decode(prepared.body)).astype(float) - exact) ** 2)
    assert 10 * np.log10(255**2 / error) > 35


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    error = np.mean((found.astype(float) - expected.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else 99.0


@pytest.mark.parametrize(
    ("mode", "size", "enlarged"),
    [
        ("keep", (90, 60), (90, 60)),
        ("longer", (48, 32), (200, 133)),
        ("shorter", (72, 48), (300, 200)),
        ("border", (48, 48), (200, 200)),
        ("crop", (48, 48), (200, 200)),
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_the_five_ways_to_resize(mode: str, size: tuple[int, int], enlarged: tuple[int, int], name: str) -> None:
    """Each mode gives its size; smaller images stay as they are unless they may be enlarged."""
    body = encode(picture(90, 60), name, quality=95)
    smaller, larger = Limits(resize=mode, side_px=48), Limits(resize=mode, side_px=200, enlarge=True)
    assert decode(prepare(body, smaller).body).size == size
    assert decode(prepare(body, larger).body).size == enlarged
    unchanged = prepare(body, Limits(resize=mode, side_px=200))
    assert (unchanged.body == body) == (mode != "border")
    assert (unchanged.width, unchanged.height) == ((200, 200) if mode == "border" else (90, 60))


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_border_is_white_and_a_crop_is_the_middle(name: str, mode: str) -> None:
    """The border is white on both sides of the picture; a crop shows the middle, at its full height."""
    stripes = np.zeros((60, 180, 3), np.uint8) + np.repeat(np.array([30, 120, 220], np.uint8), 60)[None, :, None]
    body = encode(Image.fromarray(stripes).convert(mode), name, quality=95)
    framed, cut = (prepare(body, Limits(resize=resize, side_px=59)).body for resize in ("border", "crop"))
    for y, level in ((0.1, 255), (0.9, 255), (0.5, 120)):
        assert close(pixel(framed, 0.5, y), (level,) * 3)
    for x in (0.05, 0.5, 0.95):
        assert close(pixel(cut, x, 0.5), (120,) * 3, 12)


@pytest.mark.parametrize("mode", ["longer", "border", "crop"])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_turned_and_resized_is_resized_and_turned(mode: str, subsampling: int) -> None:
    """However a JPEG lies in its file, what is stored of it is the same but for JPEG noise."""
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(
        (211, 147), Image.Resampling.BICUBIC
    )
    limits = Limits(resize=mode, side_px=61)
    options = {"quality": 98, "subsampling": subsampling}
    expected = np.asarray(decode(prepare(encode(image, "JPEG", **options), limits).body))
    turns = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270"]
    for orientation, turn in enumerate(turns, start=2):
        exif = Image.Exif()
        exif[0x0112] = orientation
        body = encode(image.transpose(Image.Transpose[turn]), "JPEG", exif=exif, **options)
        assert psnr(np.asarray(decode(prepare(body, limits).body)), expected) > 36


def test_metadata_stays_where_it_is_asked_for() -> None:
    """With keep_metadata, a body that is stored as it came is stored to its last byte; one that is turned is not."""
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    for name in ("JPEG", "PNG", "WEBP"):
        body = encode(picture(), name, exif=exif) + b"appended"
        assert prepare(body, Limits(keep_metadata=True)).body == body
        stripped = prepare(body, Limits()).body
        assert b"taken" not in stripped
        assert np.array_equal(np.asarray(decode(stripped)), np.asarray(decode(body)))
    exif[0x0112] = 3
    assert b"taken" not in prepare(encode(picture(), "JPEG", exif=exif), Limits(keep_metadata=True)).body


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("side", [64, 70, 76, 100, 150])
def test_jpegs_of_any_kind_are_resized_from_more_samples_than_they_get_pixels(mode: str, side: int) -> None:
    """Ours, and those that Pillow decodes at a fraction: near what the whole image resized gives."""
    grain = np.random.default_rng(side).integers(0, 256, (51, 76, 3), dtype=np.uint8)
    image = Image.fromarray(grain).resize((304, 204), Image.Resampling.BICUBIC).convert(mode)
    body = encode(image, "JPEG", quality=95, subsampling=0)
    stored = decode(prepare(body, Limits(side_px=side, quality=95)).body)
    expected = luma(encode(decode(body).convert("RGB").resize(stored.size, Image.Resampling.LANCZOS), "PNG"))
    error = np.mean((np.asarray(stored.convert("L")).astype(float) - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 36


def test_enlarging_has_a_limit() -> None:
    """A strip that would become larger than max_pixels is refused; so is a JPEG of more than 65,500 pixels a side."""
    strip = encode(Image.new("RGB", (4000, 2), "red"), "PNG")
    assert rejection(strip, Limits(resize="shorter", side_px=512, enlarge=True)).reason == TOO_MANY_PIXELS
    longer = encode(Image.new("P", (66_000, 1)), "PNG")
    assert rejection(longer, Limits(resize="keep")).reason == TOO_MANY_PIXELS
    strip_jpeg = encode(Image.new("L", (300, 20)), "JPEG")
    assert rejection(strip_jpeg, Limits(resize="shorter", side_px=5000, max_pixels=10**9, enlarge=True)).reason == (
        TOO_MANY_PIXELS
    )


@pytest.mark.parametrize("width", [65_500, 65_501, 65_535])
def test_a_jpeg_that_states_more_than_libjpeg_reads_is_refused(width: int) -> None:
    """It is whole, and there are numbers for its width, but a reader of the shards could not open it."""
    head = bytearray(encode(Image.new("L", (8, 8), 128), "JPEG")[:-3])  # its one block is a byte, then comes EOI
    at = head.index(b"\xff\xc0")
    head[at + 7 : at + 9] = struct.pack(">H", width)
    blocks = "001010" * math.ceil(width / 8)  # no difference, end of block: annex K's tables
    bits = blocks + "1" * (-len(blocks) % 8)
    body = bytes(head) + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"
    if width > 65_500:
        assert rejection(body, Limits(resize="keep")).reason == CORRUPT_IMAGE
    else:
        assert prepare(body, Limits(resize="keep")).body == body


def test_img2datasets_resize_tests_are_reproduced() -> None:
    """What img2dataset expects of its own resize modes, ours give at 45 dB or more; the seven sizes too."""
    folder = real_data("peers", "img2dataset", "blur_test_files")
    names = {
        "keep": "no",
        "longer": "keep_ratio_largest",
        "shorter": "keep_ratio",
        "border": "border",
        "crop": "center_crop",
    }
    for mode, name in names.items():
        expected = np.asarray(decode((folder / f"resize_{name}.jpg").read_bytes()))
        limits = Limits(resize=mode, side_px=600, enlarge=True)
        found = np.asarray(decode(prepare((folder / "blurred.png").read_bytes(), limits).body).convert("RGB"))
        assert found.shape == expected.shape
        assert psnr(found, expected) > 45, mode
    for path in real_data("peers", "img2dataset", "resize_test_image").glob("*.jpg"):
        width, height = decode(path.read_bytes()).size
        sizes = {mode: decode(prepare(path.read_bytes(), Limits(resize=mode, side_px=256, enlarge=True)).body).size
                 for mode in ("longer", "shorter", "border", "crop")}  # fmt: skip
        assert sizes["border"] == sizes["crop"] == (256, 256)
        assert max(sizes["longer"]) == min(sizes["shorter"]) == 256
        assert sizes["longer"] == (round(width * 256 / max(width, height)), round(height * 256 / max(width, height)))


def test_photographs_are_as_after_a_whole_decode_and_lanczos() -> None:
    """Against decoding whole, Lanczos in RGB and the same encoder: 39 dB in the mean, at 256 and at 512 pixels."""
    folder = real_data("image_text", "openstax-introduction-anthropology", "media")
    for side in (256, 512):
        found = []
        for path in sorted(folder.glob("*.jp*g"))[::6]:
            with Image.open(path) as image:
                if image.mode != "RGB" or image.info.get("icc_profile") or max(image.size) < 1.1 * side:
                    continue
                prepared = prepare(path.read_bytes(), Limits(side_px=side))
                exact = image.resize((prepared.width, prepared.height), Image.Resampling.LANCZOS)
            exact_stored = decode(encode(exact, "JPEG", quality=95))
            found.append(psnr(np.asarray(decode(prepared.body)), np.asarray(exact_stored)))
        assert len(found) > 15
        assert np.mean(found) > 39


def test_another_colour_space_is_carried_to_srgb_in_plain_jpegs() -> None:
    """A plain JPEG with a profile that swaps red and green is stored with the colours that the profile says."""
    body = encode(picture(), "JPEG", icc_profile=swapped_profile(), quality=95)
    for limits in (Limits(), Limits(side_px=32), Limits(resize="border", side_px=80)):
        stored = prepare(body, limits).body
        assert close(pixel(stored, 0.4, 0.4), (0, 255, 0), 16)
        assert "icc_profile" not in decode(stored).info


def test_entropy_of_known_histograms() -> None:
    """One tone has 0 bits, two equal halves 1 bit, all 256 tones 8 bits."""
    assert entropy_bits(np.full((16, 16), 77, np.uint8)) == 0
    assert entropy_bits(np.repeat(np.array([[0], [255]], np.uint8), 16, axis=1)) == 1
    assert entropy_bits(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 8


def rejection(body: bytes, limits: Limits = Limits()) -> ImageRejected:  # noqa: B008
    with pytest.raises(ImageRejected) as caught:
        prepare(body, limits)
    return caught.value


def test_what_is_no_image_is_told_from_what_is_broken() -> None:
    """Judged by content: HTML, SVG and nothing are not_image; a cut JPEG or PNG and a bad header are corrupt_image."""
    for body in (b"", b"<!DOCTYPE html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert rejection(body).reason == NOT_IMAGE
    for name in ("JPEG", "PNG", "WEBP", "GIF"):
        whole = encode(Image.effect_noise((64, 64), 90).convert("RGB"), name)
        assert rejection(whole[: len(whole) // 2]).reason == CORRUPT_IMAGE
    assert rejection(b"\xff\xd8\xff\xe0" + bytes(100)).reason == CORRUPT_IMAGE


def test_pixels_are_judged_before_decoding() -> None:
    """A 30,000 x 30,000 PNG of a few kilobytes, and one over our own limit, are refused at once by their header."""
    bomb = bytearray(png_16_bit(np.zeros((1, 1, 1), np.uint16)))
    bomb[16:24] = struct.pack(">II", 30_000, 30_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    started = time.process_time()
    assert rejection(bytes(bomb)).reason == TOO_MANY_PIXELS
    assert rejection(encode(picture(), "PNG"), Limits(max_pixels=64 * 48 - 1)).reason == TOO_MANY_PIXELS
    assert time.process_time() - started < 0.2


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    """Scans multiply a decoder's work: a JPEG with more than a hundred is corrupt_image."""
    body = encode(picture(), "JPEG", progressive=True)
    start, end = body.rindex(b"\xff\xda"), body.rindex(b"\xff\xd9")
    assert rejection(body[:end] + body[start:end] * 1000 + b"\xff\xd9").reason == CORRUPT_IMAGE


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]), st.data())
def test_damaged_images_end_in_an_image_or_a_reason(name: str, data: st.DataObject) -> None:
    """Bytes overwritten anywhere in an image never escape as another exception."""
    body = bytearray(encode(picture(), name))
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    reason = _outcome(bytes(body)).partition(" ")[0]
    assert reason in ("stored", NOT_IMAGE, CORRUPT_IMAGE, TOO_MANY_PIXELS)


def test_every_hostile_file_ends_in_an_image_or_a_reason() -> None:
    """223 files made to break decoders: each is stored or has a reason, quickly, in bounded memory, alike twice."""
    files = sorted(path for path in real_data("hostile", "pillow").rglob("*") if path.is_file())
    assert len(files) == 223
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: list[str] = []
    for path in files:
        started = time.process_time()
        outcome, again = (_outcome(path.read_bytes()) for _ in range(2))
        assert outcome == again, path.name
        assert time.process_time() - started < 2, path.name
        outcomes.append(outcome)
    assert sum(outcome == "stored" for outcome in outcomes) >= 160
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 300 * 1024


def test_memory_is_bounded_by_the_limit_of_pixels() -> None:
    """The hostile files with a limit of 4 million pixels: the process peaks under 160 MB above its imports."""
    folder = real_data("hostile", "pillow")
    script = (
        "import pathlib, resource, sys\n"
        "from wit.image import ImageRejected, Limits, prepare\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).rglob('*')):\n"
        "    try:\n"
        "        prepare(path.read_bytes(), Limits(max_pixels=4_000_000)) if path.is_file() else None\n"
        "    except ImageRejected:\n"
        "        pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder)]
    peak_kib = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak_kib < 160 * 1024


def _outcome(body: bytes) -> str:
    try:
        prepared = prepare(body, Limits())
    except ImageRejected as rejected:
        return f"{rejected.reason} {rejected.detail}"
    image = decode(prepared.body)
    assert image.mode in ("RGB", "L")
    assert image.size == (prepared.width, prepared.height)
    return "stored"


def test_turned_photographs_show_the_same_scene() -> None:
    """Seven turned photographs of one scene give one stored picture but for JPEG noise (mean < 6 of 255)."""
    folder = real_data("hostile", "pillow")
    for suffix in ("jpg", "webp"):
        files = [folder / f"hopper_orientation_{number}.{suffix}" for number in range(2, 9)]
        pixels = [np.asarray(decode(prepare(path.read_bytes(), Limits()).body)).astype(int) for path in files]
        assert all(np.abs(pixels[0] - other).mean() < 6 for other in pixels[1:])
