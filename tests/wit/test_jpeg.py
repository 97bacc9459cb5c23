"""Plain JPEGs are decoded as Pillow decodes them, at any size; all others are left to Pillow."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support import real_data
from wit import jpeg_kernels as kernels
from wit.jpeg import Decoded, decode, encode, read_header

SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft shapes with some grain, in colours, as a photograph has them."""
    rng = np.random.default_rng(width * 1000 + height)
    soft = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def planes(body: bytes, side: int = 8) -> Decoded | None:
    header = read_header(body)
    return None if header is None else decode(body, header, (side,) * len(header.components))


def by_pillow(body: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as image:
        image.draft(mode, None)
        return np.asarray(image).astype(int)


def assert_luma_is_pillows(body: bytes, decoded: Decoded | None) -> None:
    expected = by_pillow(body, "L")
    assert decoded is not None
    found = decoded.planes[0][: expected.shape[0], : expected.shape[1]]
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 17), (33, 15), (100, 64), (129, 250)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    "options",
    [{}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}, {"optimize": True, "quality": 30}, {"quality": 100}],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_luma_is_pillows_within_a_level(
    size: tuple[int, int], subsampling: str, options: dict[str, Any], progressive: bool
) -> None:
    """Every sampling, odd sizes, restart markers, optimised tables, in scans: luma is libjpeg's, but for rounding."""
    body = jpeg(photograph(*size), subsampling=SUBSAMPLINGS[subsampling], progressive=progressive, **options)
    assert_luma_is_pillows(body, planes(body))


@pytest.mark.parametrize("progressive", [False, True])
def test_chroma_is_pillows_within_a_level(progressive: bool) -> None:
    """Where chroma is not subsampled, all three planes are libjpeg's, but for rounding."""
    body = jpeg(photograph(75, 50), subsampling=0, progressive=progressive)
    decoded = planes(body)
    assert decoded is not None
    expected = by_pillow(body, "YCbCr")
    for i, plane in enumerate(decoded.planes):
        assert np.abs(plane[:50, :75] - expected[..., i]).max() <= 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_grey_jpeg_has_one_plane(progressive: bool) -> None:
    """A grey JPEG is decoded and encoded by its luma alone."""
    body = jpeg(photograph(50, 40, "L"), progressive=progressive)
    assert_luma_is_pillows(body, planes(body))
    with Image.open(io.BytesIO(encode((np.full((40, 50), 99, np.uint8),), 95))) as image:
        assert (image.mode, image.size, image.getpixel((20, 20))) == ("L", (50, 40), 99)


@pytest.mark.parametrize("side", range(1, 8))
def test_a_smaller_side_shows_the_same_picture(side: int) -> None:
    """At 1 to 7 pixels a block the image is the whole one brought down by Lanczos (> 35 dB on soft pictures)."""
    image = photograph(320, 240).convert("L").resize((640, 480), Image.Resampling.BICUBIC)
    decoded = planes(jpeg(image, quality=95), side)
    assert decoded is not None
    size = 80 * side, 60 * side
    exact = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(float)
    error = np.mean((decoded.planes[0][: size[1], : size[0]] - exact) ** 2)
    assert 10 * np.log10(255**2 / error) > 35


def test_what_is_not_wanted_is_empty() -> None:
    """A plane of 0 pixels a block is not made, and the others are as they are without it."""
    body = jpeg(photograph(50, 40))
    header, every = read_header(body), planes(body)
    assert header is not None
    luma = decode(body, header, (8, 0, 0))
    assert every is not None
    assert luma is not None
    assert [plane.size for plane in luma.planes[1:]] == [0, 0]
    assert np.array_equal(luma.planes[0][:40, :50], every.planes[0][:40, :50])


def not_plain() -> dict[str, bytes]:
    image = photograph(48, 32)
    body, grey = jpeg(image), jpeg(image.convert("L"))
    frame = body.index(b"\xff\xc0")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    scans = jpeg(image, progressive=True)
    last_scan = scans.rindex(b"\xff\xda")
    many = bytes([0x13, *[0] * 14, 255, 2]) + bytes(257)  # of 15 and of 16 bits: a prefix code, but of 257 symbols
    table = b"\xff\xc4" + (len(many) + 2).to_bytes(2, "big") + many
    return {
        "a Huffman table of more symbols than there are": body[:2] + table + body[2:],
        "such a table between scans": scans[:last_scan] + table + scans[last_scan:],
        "a scan is missing": scans[: scans.rindex(b"\xff\xc4", 0, last_scan)] + b"\xff\xd9",
        "a scan comes twice": scans[:-2] + scans[last_scan:],
        "CMYK": jpeg(image.convert("CMYK")),
        "RGB, says Adobe": body[:2] + adobe + body[2:],
        "RGB, not YCbCr": jpeg(image, keep_rgb=True),
        "no height": body[: frame + 5] + b"\0\0" + body[frame + 7 :],
        "12 bits": body[: frame + 4] + b"\x0c" + body[frame + 5 :],
        "odd sampling": body[: frame + 11] + b"\x31" + body[frame + 12 :],
        "a byte between segments": body[:frame] + b"\0" + body[frame:],
        "a marker of none": body[:2] + b"\xff\xf1\x00\x04ab" + body[2:],
        "no sampling": grey.replace(b"\x01\x01\x11\x00", b"\x01\x01\x05\x00", 1),
        "bytes after the scan": body[:-2] + b"\0" * 9 + body[-2:],
        "two scans": body[:-2] + body[body.index(b"\xff\xda") :],
        "no end": body[:-2],
        "nothing": b"\xff\xd8\xff",
    }


@pytest.mark.parametrize("name", not_plain())
def test_what_is_not_plain_is_left_to_pillow(name: str) -> None:
    """Other kinds of JPEG, and what is broken, give no planes."""
    assert planes(not_plain()[name]) is None


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 2}, {"optimize": True}, {"progressive": True}])
def test_a_truncated_jpeg_is_never_plain(options: dict[str, Any]) -> None:
    """Cut at any byte, a JPEG gives no planes, whatever decoders make of it."""
    body = jpeg(photograph(40, 30), **options)
    assert planes(body + b"trailing") is not None
    assert not [end for end in range(len(body)) if planes(body[:end]) is not None]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([{}, {"restart_marker_blocks": 3}, {"subsampling": 0, "optimize": True}, {"progressive": True}]),
    st.data(),
)
def test_a_damaged_jpeg_is_as_pillow_has_it_or_is_left_to_pillow(options: dict[str, Any], data: st.DataObject) -> None:
    """Where a JPEG with bytes overwritten, lost or put in counts as plain, Pillow decodes it too, to the same luma.

    Not so in blocks that go beyond black or white: far beyond, libjpeg comes out at the other end, or not, by machine.
    """
    body = bytearray(jpeg(photograph(45, 37), **options))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    decoded = planes(bytes(body))
    if decoded is not None:
        expected = by_pillow(bytes(body), "L")
        found = decoded.planes[0][: expected.shape[0], : expected.shape[1]]
        for y in range(0, expected.shape[0], 8):
            for x in range(0, expected.shape[1], 8):
                block, pillows = found[y : y + 8, x : x + 8], expected[y : y + 8, x : x + 8]
                assert np.abs(block - pillows).max() <= 1 or block.min() == 0 or block.max() == 255


def test_photoshops_marker_is_plain() -> None:
    """Adobe's marker that says YCbCr, of its own length or with more behind, as Photoshop writes it, is plain."""
    body = jpeg(photograph(30, 20))
    for more in (b"", b"\x03\x00\x10"):
        marker = b"\xff\xee" + (14 + len(more)).to_bytes(2, "big") + b"Adobe\x00\x64\x00\x00\x00\x00\x01" + more
        assert_luma_is_pillows(body[:2] + marker + body[2:], planes(body[:2] + marker + body[2:]))


def test_real_photographs_are_plain() -> None:
    """Of the 241 photographs of a textbook nearly all are plain, and their luma is Pillow's."""
    num_plain = 0
    files = sorted(real_data("image_text", "openstax-introduction-anthropology", "media").glob("*.jp*g"))
    for path in files[::4]:
        body = path.read_bytes()
        decoded = planes(body)
        if decoded is not None:
            assert_luma_is_pillows(body, decoded)
            num_plain += 1
    assert num_plain > 0.9 * len(files[::4])


@pytest.mark.parametrize("shape", [(15, 15), (16, 15), (15, 16), (1, 1), (16, 16)])
def test_what_lies_behind_a_plane_is_not_encoded(shape: tuple[int, int]) -> None:
    """Planes of odd sides give the same bytes whatever follows them in memory, and their edge stays as it is."""
    height, width = shape
    halves = tuple(np.full((-(-height // 2), -(-width // 2)), level, np.uint8) for level in (100, 150))
    found = set()
    for behind in (0, 77, 255):
        luma = np.full((height + 2, width + 2), behind, np.uint8)
        luma[:height, :width] = 90
        found.add(encode((luma[:height, :width], *halves), 95))
    assert len(found) == 1
    grey = np.asarray(Image.open(io.BytesIO(found.pop())).convert("YCbCr"))[..., 0]
    assert np.abs(grey.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("symbol", [0x10, 0x40, 0xD0, 0xE0])
def test_codes_of_progressive_files_are_not_sought_among_longer_ones(symbol: int) -> None:
    """A short code that a baseline scan cannot use is known as such: as a long one it would lie before the table."""
    counts = np.array([0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], np.uint8)
    lookup, codes = np.empty(1 << kernels.LOOKUP_BITS, np.int64), np.empty(kernels.CODES_LENGTH, np.int32)
    assert kernels.fill_table(counts, np.array([0x01, symbol, 0x02, 0x03, 0x04], np.uint8), False, lookup, codes)
    short = lookup[: 5 << (kernels.LOOKUP_BITS - 3)]  # 00, 01, 100
    assert (short != 0).all()
    assert (lookup[len(short) :] == 0).all()


@pytest.mark.parametrize("symbol", [0x10, 0x40, 0xD0, 0xE0])
def test_a_baseline_scan_with_codes_of_progressive_files_is_not_plain(symbol: int) -> None:
    """Each symbol of the AC table in turn is one: the file is left to Pillow, or never uses it."""
    body = jpeg(photograph(40, 40, "L"), quality=90)
    header = read_header(body)
    assert header is not None
    table = header.huffman[0x10]
    at = body.index(table)
    expected = planes(body)
    assert expected is not None
    left = 0
    for place in range(16, len(table)):
        found = planes(body[: at + place] + bytes([symbol]) + body[at + place + 1 :])
        left += found is None
        assert found is None or (found.planes[0][:40, :40] == expected.planes[0][:40, :40]).all()
    assert left > 20


def test_tables_of_the_files_before_are_not_used() -> None:
    """Files of other Huffman tables, good and broken, in any order: each is what it is when it comes first."""
    bodies = [jpeg(photograph(60, 50), optimize=True, quality=quality) for quality in (30, 60, 95)]
    standard = jpeg(photograph(60, 50))
    header = read_header(standard)
    assert header is not None
    table = header.huffman[0x10]
    overfull = standard.replace(table[:16], bytes([3]) + table[1:15] + bytes([table[15] - 3 + table[0]]))
    bodies += [standard, overfull]

    def decoded(body: bytes) -> bytes | None:
        found = planes(body)
        return None if found is None else b"".join(plane[:-1, :-8].tobytes() for plane in found.planes)

    known = list[bytes | None]()
    for body in bodies:
        with ThreadPoolExecutor(1) as alone:  # each thread has tables of its own
            known.append(alone.submit(decoded, body).result())
    assert known[-1] is None
    assert None not in known[:-1]
    for order in permutations(range(len(bodies))):
        assert [decoded(bodies[i]) for i in order] == [known[i] for i in order]
