"""Tars as others make them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, image_format: str = "JPEG", side: int = 24) -> bytes:
    """Return a small picture that no other number gives."""
    tiles = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(tiles).resize((side * 3 // 2, side), Image.Resampling.NEAREST).save(buffer, image_format)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]], tar_format: int = tarfile.GNU_FORMAT) -> Path:
    """Write a tar with owners and times, as tar programs do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tar_format) as archive:
        for number, (name, data) in enumerate(members):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.mode = len(data), 1_600_000_000 + number, "me", 0o600
            archive.addfile(member, io.BytesIO(data))
    return path
