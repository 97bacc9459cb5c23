"""Videos by a single frame, the middle one, as the paper's tables have them, or by all frames, averaged (Table 15).

A set is ROOT/CLASS/VIDEO, where VIDEO is a folder of frames, a tar of them, or a video file (see `frames`).

Whether the paper averages predictions or embeddings is not known here: both are there, and the paper's number stands
beside the first.
Shapes: N videos, F frames of one, C classes, D embedding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.evaluation.metrics import softmax
from trainer.evaluation.protocols.findings import Floats
from trainer.evaluation.protocols.frames import VIDEO_SUFFIXES, is_video
from wit.errors import InputError
from wit.storage import list_names

SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Video:
    """A video of a set: its class, and where it is."""

    name: str
    label: int
    path: str


@dataclass(frozen=True)
class VideoSet:
    """Classes, as their folders are called and in that order, and the videos in the order of their names."""

    classes: tuple[str, ...]
    videos: tuple[Video, ...]


def list_videos(root: str) -> VideoSet:
    """Return the videos of a local folder; raises InputError when a class has none, or there are fewer than two."""
    if not os.path.isdir(root):
        raise InputError(
            f"{root}: expected a folder of class folders, found {'a file' if os.path.exists(root) else 'nothing'}"
        )
    names = [name for name in list_names(root) if not name.startswith(".") and os.path.isdir(Path(root, name))]
    if len(names) < 2:
        raise InputError(f"{root}: expected at least two class folders, found {len(names)}")
    videos = []
    for label, name in enumerate(names):
        folder = str(Path(root, name))
        found = [one for one in list_names(folder) if is_video(folder, one)]
        if not found:
            raise InputError(f"{folder}: expected videos (folders of frames, tars or "
                             f"{', '.join(sorted(VIDEO_SUFFIXES))} files), found none")  # fmt: skip
        videos += [Video(f"{name}/{one}", label, str(Path(folder, one))) for one in found]
    return VideoSet(tuple(names), tuple(videos))


def average_embedding(frame_FD: Floats) -> Floats:
    """Return the mean (D,) of a video's embeddings, of unit length again."""
    mean_D = frame_FD.mean(axis=0, dtype=np.float64)
    unit: Floats = (mean_D / (np.linalg.norm(mean_D) or 1)).astype(np.float32)
    return unit


def average_prediction(logits_FC: Floats) -> Floats:
    """Return the logarithm (C,) of the mean of the frames' probabilities: their softmax is that mean again.

    Logits are cosines over the model's temperature.
    """
    mean_C = softmax(logits_FC).mean(axis=0)
    logs: Floats = np.log(np.maximum(mean_C, SMALLEST)).astype(np.float32)
    return logs
