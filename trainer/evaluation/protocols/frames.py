"""The frames of a video: of a folder or a tar of images, in the order of their numbers, or of a video file.

Video files are decoded where PyAV is installed (`pip install 'wit[video]'`), an error without it. A file is read as
one of CONTAINERS and nothing else, so that none can make the decoder open another file or an address; what is larger,
longer or slower than any clip of an evaluation set is refused.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainer.evaluation.protocols.units import Opened, Unit, require_file
from wit import tar
from wit.errors import InputError, UserError
from wit.evaluation_sets.packed import open_unpacked
from wit.evaluation_sets.pieces import by_number
from wit.foreign import IMAGE_SUFFIXES, last_suffix
from wit.image import TOO_MANY_PIXELS, ImageRejected
from wit.manifest import fingerprint_file
from wit.storage import read_bytes

VIDEO_SUFFIXES = frozenset({"mp4", "avi", "mkv", "webm", "mov", "m4v"})
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
CONTAINERS = "avi,matroska,mov"
"""As FFmpeg names them; the files of VIDEO_SUFFIXES are of one of these."""
MIDDLE, ALL = "middle", "all"
CORRUPT_VIDEO, TOO_MANY_FRAMES = "corrupt_video", "too_many_frames"
"""Reasons why a video is rejected."""

MAX_FRAMES = 100_000
"""Of a video: about an hour; clips of evaluation sets have ten seconds."""
MAX_FRAME_PIXELS = 1 << 25
"""33 million, a frame of 8K video."""
MAX_SECONDS = 600.0
"""For which one file may be decoded, of many frames or of frames that take long."""
MIN_DECLARED = 0.9
"""Share of the frames, or of the seconds, that a file declares which must be there; less: it was cut off."""


def is_video(folder: str, name: str) -> bool:
    """Return whether what lies in a class folder may be a video."""
    return not name.startswith(".") and (
        os.path.isdir(Path(folder, name)) or last_suffix(name) in VIDEO_SUFFIXES or name.lower().endswith(TAR_SUFFIXES)
    )


def choose_frames(num_frames: int, which: str, most: int = 0) -> list[int]:
    """Return places of frames: the MIDDLE one (of an even number the second of the two), or ALL.

    Of ALL, at most `most` where it is not 0: the middles of as many equal parts.
    """
    if which == MIDDLE:
        return [num_frames // 2]
    if not most or num_frames <= most:
        return list(range(num_frames))
    return [(2 * part + 1) * num_frames // (2 * most) for part in range(most)]


def video(path: str, which: str, most: int = 0) -> Unit:
    """Return the unit of a video's chosen frames; opening it raises InputError when it has none, or PyAV is missing."""
    if os.path.isdir(path):
        return Unit(path, lambda: _open_folder(path, which, most))
    is_tar = path.lower().endswith(TAR_SUFFIXES)
    return Unit(path, lambda: _open_tar(path, which, most) if is_tar else _open_file(path, which, most))


def _open_folder(path: str, which: str, most: int) -> Opened:
    names = sorted((name for name in os.listdir(path) if last_suffix(name) in IMAGE_SUFFIXES), key=by_number)
    _require_frames(path, len(names))
    urls = [str(Path(path, names[place])) for place in choose_frames(len(names), which, most)]
    for url in urls:
        require_file(url)
    identity = hashlib.sha256("\n".join(map(fingerprint_file, urls)).encode()).hexdigest()
    return Opened(identity, lambda: map(read_bytes, urls))


def _require_frames(path: str, num_frames: int) -> None:
    if not num_frames:
        raise InputError(f"{path}: expected frames of a video, found none; remove it or extract them again")


def _open_tar(path: str, which: str, most: int) -> Opened:
    require_file(path)
    return Opened(f"{which} {most} {fingerprint_file(path)}", lambda: _frames_of_tar(path, which, most))


def _frames_of_tar(path: str, which: str, most: int) -> Iterable[bytes]:
    with open_unpacked(path) as (file, _):
        names = [member.name for member in tar.members(file, path) if last_suffix(member.name) in IMAGE_SUFFIXES]
    order = sorted(range(len(names)), key=lambda place: by_number(names[place]))
    _require_frames(path, len(order))
    chosen = [order[place] for place in choose_frames(len(order), which, most)]
    wanted = set(chosen)
    bodies: dict[int, bytes] = {}
    with open_unpacked(path) as (file, _):  # read anew: what is packed is read forward only
        frames = (one for one in tar.members(file, path) if last_suffix(one.name) in IMAGE_SUFFIXES)
        for place, member in enumerate(frames):
            if place in wanted:
                bodies[place] = tar.read_member(file, member, path)
    return [bodies[place] for place in chosen]


def _open_file(path: str, which: str, most: int) -> Opened:
    require_file(path)
    av = _require_av(path)
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return Opened(f"{which} {most} {version} {fingerprint_file(path)}", lambda: _frames_of_file(av, path, which, most))


def _require_av(path: str) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise UserError(
            f"{path}: expected PyAV to decode a video file, found it not installed; pip install 'wit[video]', or "
            "extract the frames into a folder of that name"
        ) from error


def _frames_of_file(av: Any, path: str, which: str, most: int) -> Iterator[bytes]:
    """Yield frames as bitmaps, one at a time; where not all are wanted they are counted before."""
    if which == ALL and not most:
        num_frames = 0
        for frame in _decoded(av, path):
            num_frames += 1
            yield _bitmap(frame)
        if not num_frames:
            raise ImageRejected(CORRUPT_VIDEO, "no frames")
        return
    num_frames = sum(1 for _ in _decoded(av, path))
    if not num_frames:
        raise ImageRejected(CORRUPT_VIDEO, "no frames")
    chosen = choose_frames(num_frames, which, most)
    wanted = set(chosen)
    for place, frame in enumerate(_decoded(av, path)):
        if place in wanted:
            yield _bitmap(frame)
        if place == chosen[-1]:
            return


def _bitmap(frame: Any) -> bytes:
    buffer = io.BytesIO()
    frame.to_image().save(buffer, "BMP")
    return buffer.getvalue()


def _decoded(av: Any, path: str) -> Iterator[Any]:
    """Yield all frames of a file's first video stream.

    Raises ImageRejected for what is none, cut off, or too much; InputError when decoding it takes too long.
    """
    started = time.monotonic()
    num_frames = 0
    end_s = 0.0
    try:
        with av.open(path, container_options={"format_whitelist": CONTAINERS}) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_FRAME_PIXELS:
                found = f"{stream.width} x {stream.height} pixels, limit {MAX_FRAME_PIXELS}"
                raise ImageRejected(TOO_MANY_PIXELS, found)
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}  # of what it does not declare
            for packet in container.demux(stream):
                for frame in packet.decode():
                    num_frames += 1
                    end_s = max(end_s, frame.time or 0.0)
                    yield frame
                if num_frames > MAX_FRAMES:
                    raise ImageRejected(TOO_MANY_FRAMES, f"more than {MAX_FRAMES} frames")
                if time.monotonic() - started > MAX_SECONDS:  # a faster machine may do it: no fact of the file
                    raise InputError(f"{path}: expected a video that is decoded within {MAX_SECONDS:.0f} s, found one "
                                     "that takes longer; cut it")  # fmt: skip
            num_declared, declared_s = stream.frames, (container.duration or 0) / av.time_base
    except (av.FFmpegError, IndexError) as error:
        raise ImageRejected(CORRUPT_VIDEO, getattr(error, "strerror", None) or "no pictures") from error
    share = num_frames / num_declared if num_declared else end_s / declared_s if declared_s > 1 else 1.0
    if share < MIN_DECLARED:
        raise ImageRejected(CORRUPT_VIDEO, f"cut off: {share:.0%} of what it declares")
