"""A small world to audit: shards that anyone could have made, and evaluation sets of which they show some images."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' <img src=x onerror=y>"


def picture(seed: int, side: int = 96) -> Image.Image:
    """A random colour picture with detail at all the frequencies that hashes look at."""
    small = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_tar(path: Path, contents: dict[str, bytes]) -> None:
    """Write a tar of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_images(folder: Path, images: dict[str, bytes]) -> None:
    """Write files in folders."""
    for name, body in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def make_world(folder: Path) -> Path:
    """Two shards with 12 copies of picture 100, an edit of 101, 55, a blank and a corrupt image; two sets with some.

    Of `pets` overlap cat/100.png (12 samples) and dog/101.png (an edit); of `others` 1.png, and the blank one by its
    content; dog/mirror.png only when it is turned.
    """
    first: dict[str, bytes] = {}
    for number in range(20):
        seed = 100 if number < 12 else number
        first[f"{number:04d}.jpg"] = encoded(picture(seed), "JPEG", quality=80)
        first[f"{number:04d}.json"] = json.dumps({"url": f"http://example.org/{number}"}).encode()
        first[f"{number:04d}.txt"] = HOSTILE.encode()
    write_tar(folder / "shards" / "00000.tar", first)
    blank = encoded(Image.new("RGB", (64, 64), "black"), "PNG")
    second = {
        "0100.webp": encoded(picture(101).resize((150, 140)), "WEBP", quality=90),
        "0101.png": encoded(picture(7), "PNG")[:100],
        "0102.png": encoded(picture(55), "PNG"),
        "0103.png": blank,
        "0104.jpg": encoded(picture(300), "JPEG", quality=90),
    }
    write_tar(folder / "shards" / "00001.tar", second)
    cats = {f"cat/{number}.png": encoded(picture(number), "PNG") for number in (100, 102, 103)}
    mirrored = encoded(picture(300).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG")
    dogs = {"dog/101.png": encoded(picture(101), "PNG"), "dog/mirror.png": mirrored}
    write_images(folder / "pets", cats | dogs | {"cat/broken.png": b"\x89PNG\r\n\x1a\n"})
    grey = encoded(Image.new("RGB", (64, 64), "grey"), "PNG")
    others = {
        "0.png": encoded(picture(200), "PNG"),
        "1.png": encoded(picture(55), "PNG"),
        "2.png": blank,
        "3.png": grey,
    }
    write_tar(folder / "others.tar", others)
    return folder
