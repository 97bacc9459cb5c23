"""Prints: fast ones beside exact ones, turns, blank pictures, contents, hostile bytes."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support import real_data
from tests.wit.test_image import swapped_profile
from wit import fingerprint_kernels, fingerprint_pictures
from wit.fingerprint import NO_PRINTS, TURN_OPTIONS, TURNS, Prints, fingerprint, fingerprint_all
from wit.image import CORRUPT_IMAGE, NOT_IMAGE, TOO_MANY_PIXELS, ImageRejected, Limits, prepare
from wit.schema import PRINTS, conform

ALL_TURNS = tuple(range(len(TURNS)))
TRANSPOSES = dict(
    zip(
        TURNS[1:],
        (
            Image.Transpose.ROTATE_90,
            Image.Transpose.ROTATE_180,
            Image.Transpose.ROTATE_270,
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.TRANSVERSE,
        ),
        strict=True,
    )
)
ORIENTATION = 0x0112


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """A random colour picture with coarse and fine detail."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (4, 9, 30)]
    images = [Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC) for layer in layers]
    return Image.blend(Image.blend(images[0], images[1], 0.5), images[2], 0.3)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def phash_bits(one: Prints, other: Prints) -> npt.NDArray[np.int64]:
    return np.bitwise_count(one.phash ^ other.phash).astype(np.int64)


def pdq_bits(one: Prints, other: Prints) -> npt.NDArray[np.int64]:
    return np.bitwise_count(one.pdq ^ other.pdq).sum(axis=1, dtype=np.int64)


def same(one: Prints, other: Prints) -> bool:
    return all(np.array_equal(*arrays) for arrays in zip(one, other, strict=True))


def real_photographs() -> list[bytes]:
    """Photographs as they are stored: of COCO, and of a textbook."""
    paths = sorted(real_data("image_text", "coco-mini").rglob("*.jpg"))[::3]
    paths += sorted(real_data("image_text", "openstax-introduction-anthropology").rglob("*.jpg"))[::10]
    return [prepare(path.read_bytes(), Limits()).body for path in paths]


def test_fast_prints_of_real_photographs() -> None:
    """At most 2 bits of pHash and 4 of PDQ from the exact ones, in every turn; the quality is equal."""
    bodies = real_photographs()
    exact = fingerprint_all(bodies, exact=True, turns=ALL_TURNS)
    fast = fingerprint_all(bodies, turns=ALL_TURNS)
    assert phash_bits(exact, fast).max() <= 2
    assert pdq_bits(exact, fast)[exact.quality >= 50].max() <= 4
    assert np.abs(exact.quality - fast.quality).max() <= 1
    assert np.array_equal(exact.content, fast.content)


def test_large_jpegs_are_decoded_at_a_part_of_their_size() -> None:
    """The prints of photographs whose shorter side is over 512 pixels stay as near to the exact ones."""
    sides = [(1100, 700), (1537, 1025), (2001, 1303), (640, 520)]
    bodies = [encoded(photograph(*size, seed=sum(size)), "JPEG", quality=90) for size in sides]
    bodies.append((real_data("neardup", "pdq", "bridge-mods") / "aaa-orig.jpg").read_bytes())
    exact = fingerprint_all(bodies, exact=True, turns=ALL_TURNS)
    fast = fingerprint_all(bodies, turns=ALL_TURNS)
    assert phash_bits(exact, fast).max() <= 2
    assert pdq_bits(exact, fast).max() <= 6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]))
def test_any_size_and_format_has_a_print(width: int, height: int, seed: int, kind: str) -> None:
    """Small pictures, too; below 5 pixels a side PDQ has none, and quality 0."""
    body = encoded(photograph(width, height, seed), kind)
    for exact in (False, True):
        prints = fingerprint(body, exact=exact, turns=ALL_TURNS)
        assert prints.num_rows == len(TURNS)
        assert ((prints.quality >= 0) & (prints.quality <= 100)).all()
        if min(width, height) < 5:
            assert not prints.pdq.any()
            assert not prints.quality.any()


@pytest.mark.parametrize("size", [(66_000, 5), (5, 66_000), (1, 200_000)])
def test_a_line_of_pixels_has_no_hash(size: tuple[int, int]) -> None:
    """What is longer than any JPEG has a content alone: to shrink 50,000,000 x 1 pixels takes gigabytes."""
    for exact in (False, True):
        prints = fingerprint(encoded(photograph(*size), compress_level=1), exact=exact)
        assert not prints.pdq.any()
        assert not prints.quality.any()
        assert not prints.phash.any()
        assert prints.content.all()


@pytest.mark.parametrize("name", TURNS[1:])
@pytest.mark.parametrize("exact", [False, True])
def test_a_turn_is_the_print_of_the_turned_picture(name: str, exact: bool) -> None:
    """The print of each turn is that of the picture turned and stored without loss."""
    for size in ((96, 96), (301, 77), (64, 200)):
        image = photograph(*size)
        prints = fingerprint(encoded(image), exact=exact, turns=(TURNS.index(name),))
        turned = fingerprint(encoded(image.transpose(TRANSPOSES[name])), exact=exact)
        assert phash_bits(prints, turned)[0] <= (0 if exact else 2)
        assert pdq_bits(prints, turned)[0] == 0
        assert prints.quality == turned.quality


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_jpeg_is_hashed_upright(orientation: int) -> None:
    """A file that says how it is to be turned has the print of what is to be seen."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = photograph(300, 200)
    turned = fingerprint(encoded(image, "JPEG", exif=exif, quality=95, subsampling=0))
    exact = fingerprint(encoded(image, "JPEG", exif=exif, quality=95, subsampling=0), exact=True)
    assert phash_bits(turned, exact)[0] <= 2
    assert pdq_bits(turned, exact)[0] <= 4
    assert pdq_bits(turned, fingerprint(encoded(image)))[0] > 60


def forms() -> dict[str, bytes]:
    """One picture as bodies of the web have it."""
    image = photograph(240, 180, seed=3)
    alpha = Image.linear_gradient("L").resize(image.size)
    layered = image.copy()
    layered.putalpha(alpha)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return {
        "grey": encoded(image.convert("L"), "JPEG", quality=95),
        "progressive": encoded(image, "JPEG", quality=95, progressive=True),
        "CMYK": encoded(image.convert("CMYK"), "JPEG", quality=95),
        "profile": encoded(image, "JPEG", quality=95, icc_profile=swapped_profile()),
        "PNG with a profile": encoded(image, icc_profile=swapped_profile()),
        "alpha": encoded(layered),
        "grey alpha": encoded(layered.convert("LA")),
        "palette": encoded(image.convert("P")),
        "turned": encoded(image, "JPEG", quality=95, exif=exif),
        "two frames": encoded(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "16 bit": encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256)),
    }


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize("exact", [False, True])
def test_what_is_hashed_is_what_is_stored(name: str, exact: bool) -> None:
    """A body as it comes has nearly the print of what is stored of it: upright, in sRGB, on white, its first frame."""
    body = forms()[name]
    stored = prepare(body, Limits(resize="keep")).body
    came, kept = fingerprint(body, exact=exact), fingerprint(stored, exact=exact)
    assert phash_bits(came, kept)[0] <= 2
    assert pdq_bits(came, kept)[0] <= 8


def test_turns_have_their_own_rows() -> None:
    """Rows go by image, then by turn, and a row is the same whatever else is asked for."""
    bodies = [encoded(photograph(80, 60, seed), kind) for seed, kind in enumerate(["PNG", "JPEG", "WEBP"] * 2)]
    together = fingerprint_all(bodies, turns=(0, 4, 2))
    apart = [fingerprint(body, turns=(turn,)) for body in bodies for turn in (0, 4, 2)]
    assert same(together, Prints.concat(apart))
    assert TURN_OPTIONS == {"none": (0,), "mirror": (0, 4), "all": ALL_TURNS}


@given(st.integers(0, 255), st.integers(5, 400), st.integers(5, 400))
@settings(max_examples=25, deadline=None)
def test_a_picture_of_one_tone_has_no_noise(level: int, width: int, height: int) -> None:
    """Fast: PDQ is 0 of quality 0 and pHash has its lowest frequency alone, whatever the size and the turn."""
    prints = fingerprint(encoded(Image.new("L", (width, height), level)), turns=ALL_TURNS)
    assert not prints.pdq.any()
    assert not prints.quality.any()
    assert set(prints.phash.tolist()) == {1 << 63 if level else 0}


def test_pictures_of_little_detail_have_low_quality() -> None:
    """A gradient, a line on white, noise of a few levels: below 50, with which wit.near compares none."""
    ramp = Image.fromarray(np.tile(np.linspace(100, 160, 256).astype(np.uint8), (256, 1)))
    line = Image.new("L", (256, 256), 255)
    line.paste(0, (20, 120, 230, 123))
    noise = Image.fromarray(np.random.default_rng(0).integers(120, 128, (256, 256), dtype=np.uint8))
    for image in (ramp, line, noise):
        for exact in (False, True):
            assert fingerprint(encoded(image), exact=exact).quality[0] < 50
    assert fingerprint(encoded(photograph(256, 256))).quality[0] == 100


def test_sums_are_whole_and_below_53_bits() -> None:
    """So they are the same on every machine: the largest that any picture can give, and in Python's integers."""
    for is_pdq, largest in ((True, 255 << fingerprint_kernels.PICTURE_BITS), (False, 255)):
        matrix = fingerprint_pictures.whole_transform(is_pdq=is_pdq)
        assert np.array_equal(matrix, np.rint(matrix))
        assert int(np.abs(matrix).sum(axis=1).max()) ** 2 * largest < 2**53
        assert not matrix[0 if is_pdq else 1 :].sum(axis=1).any()
        picture = np.random.default_rng(0).integers(0, largest + 1, matrix.shape[1:] * 2)
        exactly = matrix.astype(int).astype(object) @ picture.astype(object) @ matrix.T.astype(int).astype(object)
        assert np.array_equal((matrix @ picture.astype(float) @ matrix.T).astype(int), exactly.astype(int))


def test_content_of_bytes_and_of_pixels() -> None:
    """Equal bytes share a content of bytes; a PNG and a lossless WebP share one of pixels, turned alike as well."""
    image = photograph(60, 40)
    png, webp, other = encoded(image), encoded(image, "WEBP", lossless=True), encoded(photograph(60, 40, 1))
    assert fingerprint(png).content == fingerprint(bytes(png)).content
    assert fingerprint(png).content != fingerprint(webp).content
    of_pixels = [fingerprint(body, pixels=True).content[0] for body in (png, webp, other)]
    assert of_pixels[0] == of_pixels[1] != of_pixels[2]
    mirrored = fingerprint(encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), pixels=True).content
    assert fingerprint(webp, pixels=True, turns=(4,)).content == mirrored
    assert len(set(fingerprint(png, turns=ALL_TURNS).content.tolist())) == len(TURNS)
    # 60 x 40 and 40 x 60 of one tone have the same pixels in a row.
    tones = [fingerprint(encoded(Image.new("RGB", size, "red")), pixels=True).content for size in ((60, 40), (40, 60))]
    assert tones[0] != tones[1]


def test_options_change_only_what_they_say() -> None:
    """The content leaves the hashes alone, the way of hashing the content."""
    body = encoded(photograph(200, 150), "JPEG")
    plain, pixels = fingerprint(body), fingerprint(body, pixels=True)
    assert same(plain._replace(content=pixels.content), pixels)
    assert np.array_equal(fingerprint(body, exact=True, pixels=True).content, pixels.content)


prints_of_rows = st.lists(
    st.tuples(
        st.integers(0, 2**64 - 1),
        st.tuples(*[st.integers(0, 2**64 - 1)] * 4),
        st.integers(0, 100),
        st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=20,
)


@given(prints_of_rows, st.data())
def test_prints_to_columns_and_back(rows: list[tuple[int, tuple[int, ...], int, int]], data: st.DataObject) -> None:
    """All 64 bits of each word come back; rows are taken and joined in their order."""
    prints = Prints(
        np.array([row[0] for row in rows], np.uint64),
        np.array([row[1] for row in rows], np.uint64).reshape(-1, 4),
        np.array([row[2] for row in rows], np.int32),
        np.array([row[3] for row in rows], np.int64),
    )
    table = conform(pa.table(prints.columns()), pa.schema(PRINTS))
    assert same(Prints.of(table), prints)
    cut = data.draw(st.integers(0, len(rows)))
    parts = [prints.take(np.arange(cut)), NO_PRINTS, prints.take(np.arange(cut, len(rows)))]
    assert same(Prints.concat(parts), prints)
    assert same(Prints.of(pa.concat_tables([table.slice(0, cut), table.slice(cut)])), prints)


def test_no_images_have_no_prints() -> None:
    """Of nothing there are no rows, but all arrays."""
    assert same(fingerprint_all([]), NO_PRINTS)
    assert same(Prints.concat([]), NO_PRINTS)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", NOT_IMAGE),
        (b"<html>", NOT_IMAGE),
        (encoded(photograph(64, 64))[:200], CORRUPT_IMAGE),
        (encoded(photograph(64, 64), "JPEG")[:400], CORRUPT_IMAGE),
        (encoded(photograph(101, 100)), TOO_MANY_PIXELS),
        (encoded(photograph(101, 100), "JPEG"), TOO_MANY_PIXELS),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_what_has_no_print_is_rejected_with_a_reason(body: bytes, reason: str, exact: bool) -> None:
    """Whole or in part, fast or exact: wit.image's reasons."""
    with pytest.raises(ImageRejected) as rejected:
        fingerprint(body, Limits(max_pixels=10_000), exact=exact)
    assert rejected.value.reason == reason


def end_of(body: bytes, limits: Limits, *, exact: bool) -> str:
    """Return the reason why an image is rejected, blank where it has a print."""
    try:
        fingerprint(body, limits, exact=exact)
    except ImageRejected as error:
        return error.reason
    return ""


def test_hostile_files_fast_and_exact() -> None:
    """Both print the same files and reject the same ones, for the same reasons."""
    limits, ends = Limits(max_pixels=1_000_000), set()
    for path in sorted(path for path in real_data("hostile", "pillow").rglob("*") if path.is_file()):
        fast, exactly = (end_of(path.read_bytes(), limits, exact=exact) for exact in (False, True))
        assert fast == exactly, path.name
        ends.add(fast)
    assert ends == {"", NOT_IMAGE, CORRUPT_IMAGE, TOO_MANY_PIXELS}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 1500), st.binary(min_size=1, max_size=4), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_broken_bytes_never_crash(at: int, junk: bytes, kind: str) -> None:
    """A file with other bytes in its middle has a print or a reason, the same fast and exact."""
    body = bytearray(encoded(photograph(90, 70), kind))
    body[at : at + len(junk)] = junk
    assert end_of(bytes(body), Limits(), exact=False) == end_of(bytes(body), Limits(), exact=True)
