"""Videos by a single frame, the middle one, as the paper's tables have them, or by all frames, averaged (Table 15).

A set is ROOT/CLASS/VIDEO, where VIDEO is a folder of frames, a tar of them, or a video file; those are decoded where
PyAV is installed (`pip install av`), and an error without it. Frames are in the order of their names, numbers by value.

Whether the paper averages predictions or embeddings is not known here: both are there, and the paper's number stands
beside the first.
Shapes: N videos, F frames of all, C classes, D embedding.
"""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.evaluation.protocols.findings import CLIP, Finding, Floats, class_rows, require_rows, share_of, softmax
from wit import tar
from wit.errors import InputError
from wit.evaluation_sets.packed import open_unpacked
from wit.foreign import IMAGE_SUFFIXES, last_suffix
from wit.storage import read_bytes

VIDEO_SUFFIXES = frozenset({"mp4", "avi", "mkv", "webm", "mov", "m4v"})
MIDDLE, ALL = "middle", "all"
PUBLISHED: Mapping[tuple[str, str], float] = {("ucf101", "video_all"): 80.3}
"""Zero-shot CLIP, percent. Of all frames, Kinetics-700 has 69.6, the mean of top-1 and top-5."""


@dataclass(frozen=True)
class Video:
    """A video of a set: its class, and where it is."""

    name: str
    label: int
    path: str


@dataclass(frozen=True)
class VideoSet:
    """Classes in the order of their names, "_" as a space, and the videos in that of theirs."""

    classes: tuple[str, ...]
    videos: tuple[Video, ...]


def list_videos(root: str) -> VideoSet:
    """Return the videos of a local folder; raises InputError when a class has none, or there are fewer than two."""
    if not os.path.isdir(root):
        raise InputError(
            f"{root}: expected a folder of class folders, found {'a file' if os.path.exists(root) else 'nothing'}"
        )
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError(f"{root}: expected at least two class folders, found {len(names)}")
    videos = []
    for label, name in enumerate(names):
        found = sorted(entry.name for entry in os.scandir(Path(root, name)) if _is_video(entry))
        if not found:
            raise InputError(f"{Path(root, name)}: expected videos (folders of frames, tars or "
                             f"{', '.join(sorted(VIDEO_SUFFIXES))} files), found none")  # fmt: skip
        videos += [Video(f"{name}/{one}", label, str(Path(root, name, one))) for one in found]
    return VideoSet(tuple(name.replace("_", " ") for name in names), tuple(videos))


def _is_video(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and (
        entry.is_dir() or last_suffix(entry.name) in VIDEO_SUFFIXES or entry.name.lower().endswith(_TARS)
    )


_TARS = (".tar", ".tar.gz", ".tgz")


def choose_frames(num_frames: int, which: str, most: int = 0) -> list[int]:
    """Return places of frames: the MIDDLE one (of an even number the second of the two), or ALL.

    Of ALL, at most `most` where it is not 0: the middles of as many equal parts.
    """
    if which == MIDDLE:
        return [num_frames // 2]
    if not most or num_frames <= most:
        return list(range(num_frames))
    return [(2 * part + 1) * num_frames // (2 * most) for part in range(most)]


def read_frames(video: Video, which: str, most: int = 0) -> list[bytes]:
    """Return the chosen frames of a video as image files; raises InputError when it has none, or cannot be read."""
    if os.path.isdir(video.path):
        names = sorted((name for name in os.listdir(video.path) if last_suffix(name) in IMAGE_SUFFIXES), key=_by_number)
        _require_frames(video, len(names))
        return [read_bytes(str(Path(video.path, names[place]))) for place in choose_frames(len(names), which, most)]
    if video.path.lower().endswith(_TARS):
        return _frames_of_tar(video, which, most)
    return _frames_of_file(video, which, most)


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which 2 is before 10, and 2 before 02."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _require_frames(video: Video, num_frames: int) -> None:
    if not num_frames:
        raise InputError(f"{video.path}: expected frames of a video, found none; remove it or extract them again")


def _frames_of_tar(video: Video, which: str, most: int) -> list[bytes]:
    with open_unpacked(video.path) as (file, _):
        names = [member.name for member in tar.members(file, video.path) if last_suffix(member.name) in IMAGE_SUFFIXES]
    order = sorted(range(len(names)), key=lambda place: _by_number(names[place]))
    _require_frames(video, len(order))
    chosen = [order[place] for place in choose_frames(len(order), which, most)]
    bodies: dict[int, bytes] = {}
    with open_unpacked(video.path) as (file, _):  # read anew: what is packed is read forward only
        frames = (one for one in tar.members(file, video.path) if last_suffix(one.name) in IMAGE_SUFFIXES)
        for place, member in enumerate(frames):
            if place in chosen:
                bodies[place] = tar.read_member(file, member, video.path)
    return [bodies[place] for place in chosen]


def _frames_of_file(video: Video, which: str, most: int) -> list[bytes]:
    """Decode a video file once to count its frames and once to take them; they are stored as PNG, without loss."""
    num_frames = sum(1 for _ in _decoded(video))
    _require_frames(video, num_frames)
    chosen = set(choose_frames(num_frames, which, most))
    bodies = []
    for place, frame in enumerate(_decoded(video)):
        if place in chosen:
            buffer = io.BytesIO()
            frame.to_image().save(buffer, "PNG")  # type: ignore[attr-defined]
            bodies.append(buffer.getvalue())
    return bodies


def _decoded(video: Video) -> Iterator[object]:
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise InputError(
            f"{video.path}: expected PyAV to decode a video file, found it not installed; pip install av, or extract "
            "the frames into a folder of that name"
        ) from error
    try:
        with av.open(video.path) as container:
            yield from container.decode(video=0)
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{video.path}: expected a video, found what is none: {error}") from error


def average_embeddings(frame_FD: Floats, video_of_frame: Sequence[int], num_videos: int) -> Floats:
    """Return the means (N, D) of each video's embeddings, of unit length again; raises InputError if one has none."""
    means_ND = _mean_rows(frame_FD, video_of_frame, num_videos)
    lengths_N1 = np.linalg.norm(means_ND, axis=1, keepdims=True)
    unit: Floats = (means_ND / np.where(lengths_N1 > 0, lengths_N1, 1)).astype(np.float32)
    return unit


def average_predictions(logits_FC: Floats, video_of_frame: Sequence[int], num_videos: int) -> Floats:
    """Return the means (N, C) of each video's probabilities, the softmax of a frame's logits.

    Logits are cosines over the model's temperature. Raises InputError when a video has no frame.
    """
    return _mean_rows(softmax(logits_FC), video_of_frame, num_videos)


def _mean_rows(rows_FX: Floats, video_of_frame: Sequence[int], num_videos: int) -> Floats:
    owner_F = np.asarray(video_of_frame, np.int64)
    require_rows("frames", len(rows_FX), len(owner_F))
    counts_N = np.bincount(owner_F, minlength=num_videos)
    if len(counts_N) > num_videos or not counts_N.all():
        raise InputError(f"frames: expected some of each of {num_videos} videos, found those of {(counts_N > 0).sum()}")
    sums_NX = np.zeros((num_videos, rows_FX.shape[1]))
    np.add.at(sums_NX, owner_F, rows_FX)
    means: Floats = (sums_NX / counts_N[:, None]).astype(np.float32)
    return means


def measure_videos(scores_NC: Floats, videos: VideoSet, task: str, protocol: str) -> Finding:
    """Return the accuracy of scores of videos; in the details the top-5 one and their mean, Kinetics' metric.

    Of equal scores the first class is the likelier. Raises InputError when there are not as many rows as videos.
    """
    require_rows("videos", len(scores_NC), len(videos.videos))
    labels_N = np.array([video.label for video in videos.videos])
    order_NC = np.argsort(-scores_NC, axis=1, kind="stable")
    top1, top5 = (share_of((order_NC[:, :k] == labels_N[:, None]).any(axis=1), f"top-{k}") for k in (1, 5))
    predicted = [videos.classes[place] for place in order_NC[:, 0]]
    return Finding(
        task,
        protocol,
        "accuracy",
        top1,
        num_classes=len(videos.classes),
        chance=1 / len(videos.classes),
        published={CLIP: PUBLISHED[task, protocol]} if (task, protocol) in PUBLISHED else {},
        by_class=class_rows(predicted, [videos.classes[label] for label in labels_N], videos.classes),
        details={"top5": top5.to_json(), "mean_top1_top5": (top1.value + top5.value) / 2},
    )
