from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from trainer.evaluation.protocols.video import (
    ALL,
    MIDDLE,
    Video,
    VideoSet,
    average_embeddings,
    average_predictions,
    choose_frames,
    list_videos,
    measure_videos,
    read_frames,
)
from wit.errors import InputError


def write_tar(path: Path, names: list[str], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a set of two classes whose videos are a folder, a tar and a packed tar of frames named by number."""
    names = [f"{number}.jpg" for number in (10, 9, 1, 2, 11)]
    for folder in ("jump_rope/one", "swim"):
        (tmp_path / folder).mkdir(parents=True)
    for name in names:
        (tmp_path / "jump_rope/one" / name).write_text(name)
    (tmp_path / "jump_rope/one/notes.txt").write_text("no frame")
    write_tar(tmp_path / "jump_rope/two.tar", [*names, "notes.txt"])
    write_tar(tmp_path / "swim/three.tar.gz", names, "w:gz")
    return tmp_path


def test_frames_are_in_the_order_of_their_numbers(root: Path) -> None:
    """A folder, a tar and a packed tar give the same frames: 2 before 10, the middle of five is the third."""
    videos = list_videos(str(root))
    assert videos.classes == ("jump rope", "swim")
    assert [(one.name, one.label) for one in videos.videos] == [
        ("jump_rope/one", 0), ("jump_rope/two.tar", 0), ("swim/three.tar.gz", 1),
    ]  # fmt: skip
    for one in videos.videos:
        assert read_frames(one, ALL) == [f"{number}.jpg".encode() for number in (1, 2, 9, 10, 11)]
        assert read_frames(one, MIDDLE) == [b"9.jpg"]
        assert read_frames(one, ALL, 2) == [b"2.jpg", b"10.jpg"]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize("num_frames", [1, 2, 7, 30])
def test_chosen_frames(num_frames: int, most: int) -> None:
    """Never more than asked for, in order, each once, as even on the left as on the right; one is the middle."""
    chosen = choose_frames(num_frames, ALL, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(num_frames, most)
    assert abs(chosen[0] - (num_frames - 1 - chosen[-1])) <= 1
    assert choose_frames(num_frames, ALL, 1) == choose_frames(num_frames, MIDDLE) == [num_frames // 2]


def test_faults_are_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, one class, a class without videos, a video without frames, a cut tar, a video file without PyAV."""
    with pytest.raises(InputError, match="expected a folder of class folders, found nothing"):
        list_videos(str(root / "none"))
    with pytest.raises(InputError, match="expected at least two class folders, found 1"):
        list_videos(str(root / "jump_rope"))
    (root / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected videos .* found none"):
        list_videos(str(root))
    with pytest.raises(InputError, match="empty: expected frames of a video, found none"):
        read_frames(Video("x", 0, str(root / "empty")), MIDDLE)
    (root / "cut.tar").write_bytes((root / "jump_rope/two.tar").read_bytes()[:700])
    with pytest.raises(InputError, match=r"cut\.tar"):
        read_frames(Video("x", 0, str(root / "cut.tar")), MIDDLE)
    monkeypatch.setitem(sys.modules, "av", None)
    (root / "swim/four.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"four.mp4: expected PyAV to decode a video file, found it not installed"):
        read_frames(Video("x", 0, str(root / "swim/four.mp4")), MIDDLE)


def test_video_files(tmp_path: Path) -> None:
    """Where PyAV is installed, a video file gives its frames in order: each has the grey that was planted."""
    av = pytest.importorskip("av")
    path = tmp_path / "grey.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for grey in range(0, 250, 50):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), (grey,) * 3))
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode())
    video = Video("x", 0, str(path))
    greys = [Image.open(io.BytesIO(body)).convert("L").getpixel((9, 9)) for body in read_frames(video, ALL)]
    assert greys == [0, 50, 100, 150, 200]
    assert Image.open(io.BytesIO(read_frames(video, MIDDLE)[0])).convert("L").getpixel((9, 9)) == 100
    path.write_bytes(b"no video")
    with pytest.raises(InputError, match="expected a video, found what is none"):
        read_frames(video, ALL)


def test_averages_are_naive_ones() -> None:
    """Mean embeddings, of unit length, and mean probabilities are those of a loop; a video without frames is named."""
    rng = np.random.default_rng(0)
    owner = [0, 0, 1, 2, 1, 2, 2]
    frames = rng.standard_normal((7, 5)).astype(np.float32) * 10
    by_embedding, by_prediction = average_embeddings(frames, owner, 3), average_predictions(frames, owner, 3)
    for number in range(3):
        own = frames[[place for place, each in enumerate(owner) if each == number]]
        mean = own.mean(axis=0)
        assert by_embedding[number] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
        assert by_prediction[number] == pytest.approx(softmax(own, axis=1).mean(axis=0), abs=1e-6)
    with pytest.raises(InputError, match="expected some of each of 4 videos, found those of 3"):
        average_predictions(frames, owner, 4)


def test_accuracies_are_naive_counts() -> None:
    """Top-1, top-5 and their mean are those of sorting each row; confusions are counted by class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 50).tolist()
    videos = VideoSet(tuple("abcdefgh"), tuple(Video(str(n), label, "") for n, label in enumerate(labels)))
    scores = rng.random((50, 8)).astype(np.float32)
    found = measure_videos(scores, videos, "ucf101", "video_all")
    order = [sorted(range(8), key=lambda place: -row[place]) for row in scores]
    top1, top5 = (sum(own in row[:k] for own, row in zip(labels, order, strict=True)) for k in (1, 5))
    assert (found.share.num_hits, found.details["top5"]["num_hits"]) == (top1, top5)
    assert found.details["mean_top1_top5"] == pytest.approx((top1 + top5) / 100)
    assert sum(row["accuracy"] * row["num_items"] for row in found.by_class) == pytest.approx(top1)
    assert found.published == {"zero-shot CLIP": 80.3}
