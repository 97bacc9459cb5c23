"""Small pictures for pages that stand alone."""

from __future__ import annotations

import base64
import io

from wit.image import ImageRejected, Limits, opened, prepare

THUMBNAIL = Limits(side_px=240, quality=80)
MAX_BYTES = 32 << 10
"""A larger one, a PNG or a body that was kept as it came, is encoded anew: 240 x 240 px of noise have 40 kB then."""


def thumbnail(image: bytes) -> tuple[str, str]:
    """Return a small picture as a data URI and nothing, or nothing and why there is none."""
    try:
        stored = prepare(image, THUMBNAIL)
        kind, body = stored.format, stored.body
        if len(body) > MAX_BYTES:
            kind, body = "jpeg", _encoded_anew(body)
    except ImageRejected as error:
        return "", f"{error.reason}: {error.detail}"
    return f"data:image/{kind};base64,{base64.b64encode(body).decode()}", ""


def _encoded_anew(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with opened(body) as (_, image):
        plain = image.convert("RGB")
    plain.save(buffer, "JPEG", quality=THUMBNAIL.quality)
    return buffer.getvalue()
