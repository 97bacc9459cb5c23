from __future__ import annotations

import io
import os
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from trainer.evaluation.protocols import frames
from trainer.evaluation.protocols.frames import ALL, CORRUPT_VIDEO, MIDDLE, choose_frames, video
from trainer.evaluation.protocols.units import picture
from trainer.evaluation.protocols.video import average_embedding, average_prediction, list_videos
from wit.errors import InputError, UserError
from wit.image import ImageRejected


def read(path: str | Path, which: str, most: int = 0) -> list[bytes]:
    """Return a video's chosen frames."""
    return list(video(str(path), which, most).open().pictures())


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
    assert videos.classes == ("jump_rope", "swim")
    assert [(one.name, one.label) for one in videos.videos] == [
        ("jump_rope/one", 0), ("jump_rope/two.tar", 0), ("swim/three.tar.gz", 1),
    ]  # fmt: skip
    for one in videos.videos:
        assert read(one.path, ALL) == [f"{number}.jpg".encode() for number in (1, 2, 9, 10, 11)]
        assert read(one.path, MIDDLE) == [b"9.jpg"]
        assert read(one.path, ALL, 2) == [b"2.jpg", b"10.jpg"]


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
        read(root / "empty", MIDDLE)
    (root / "cut.tar").write_bytes((root / "jump_rope/two.tar").read_bytes()[:700])
    with pytest.raises(InputError, match=r"cut\.tar"):
        read(root / "cut.tar", MIDDLE)
    monkeypatch.setitem(sys.modules, "av", None)
    (root / "swim/four.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"four.mp4: expected PyAV to decode a video file, found it not installed") as e:
        read(root / "swim/four.mp4", MIDDLE)
    assert not isinstance(e.value, InputError), "it is no fault of the video, to be left out with others"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.tar", "frames/0.png"])
def test_pipes_are_no_videos(tmp_path: Path, name: str) -> None:
    """A pipe that nobody writes to would be waited for without an end: it is an error, as is one for a picture."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="expected a file, found a folder, a pipe or a device"):
        read(tmp_path / name.removesuffix("/0.png"), MIDDLE)
    with pytest.raises(InputError, match="expected a file, found a folder, a pipe or a device"):
        picture(str(tmp_path / name)).open()


def test_a_link_to_itself_is_one_video_that_cannot_be_read(root: Path) -> None:
    """It does not stop the listing of the others, and may be left out with what else is broken."""
    (root / "swim/loop.mp4").symlink_to("loop.mp4")
    assert "swim/loop.mp4" in [one.name for one in list_videos(str(root)).videos]
    with pytest.raises(InputError, match=r"loop.mp4: cannot be read: Too many levels of symbolic links"):
        read(root / "swim/loop.mp4", MIDDLE)


def test_what_a_video_is_known_by(root: Path) -> None:
    """Other frames, other chosen frames and other bytes are known by another name; the same by the same."""
    folder, packed = root / "jump_rope/one", root / "jump_rope/two.tar"
    for path in (folder, packed):
        known = [video(str(path), *which).open().identity for which in ((MIDDLE, 0), (ALL, 0), (ALL, 2))]
        assert len(set(known)) == 3
        assert video(str(path), MIDDLE).open().identity == known[0]
    before = video(str(folder), MIDDLE).open().identity
    (folder / "9.jpg").write_text("another")
    assert video(str(folder), MIDDLE).open().identity != before


def write_clip(path: Path, codec: str = "mpeg4", pixels: str = "yuv420p", num_frames: int = 25) -> Path:
    """Write a video whose frames are of growing grey, with noise so that cutting the file takes frames away."""
    av = pytest.importorskip("av")
    noise = np.random.default_rng(0).integers(0, 3, (64, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        for place in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, place, 1) + np.uint8(9 * place), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.avi", "clip.mov"])
def test_video_files(tmp_path: Path, name: str) -> None:
    """A video file gives its frames in order, all, some or the middle one: each has the grey that was planted."""
    path = write_clip(tmp_path / name)

    def greys(which: str, most: int = 0) -> list[float]:
        return [float(np.asarray(Image.open(io.BytesIO(body))).mean()) for body in read(path, which, most)]

    planted = [9 * place + 1 for place in range(25)]
    assert greys(ALL) == pytest.approx(planted, abs=4)
    assert greys(MIDDLE) == pytest.approx([planted[12]], abs=4)
    assert greys(ALL, 5) == pytest.approx([planted[place] for place in (2, 7, 12, 17, 22)], abs=4)


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        ("a.mp4", lambda body: b"", CORRUPT_VIDEO),
        ("a.mp4", lambda body: b"no video" * 99, CORRUPT_VIDEO),
        ("a.mp4", lambda body: body[: len(body) // 2], CORRUPT_VIDEO),
        ("a.mkv", lambda body: body[: len(body) // 2], "corrupt_video: cut off: [0-9]+% of what it declares"),
        ("a.avi", lambda body: body[: len(body) * 3 // 4], CORRUPT_VIDEO),
        ("a.mp4", lambda body: b"#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n", CORRUPT_VIDEO),
        ("a.mkv", lambda body: b"ffconcat version 1.0\nfile other.mkv\n", CORRUPT_VIDEO),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, name: str, fault: Callable[[bytes], bytes], message: str) -> None:
    """Empty, other, cut off, and lists that would have the decoder open other files: one line each."""
    path = write_clip(tmp_path / name)
    (tmp_path / "other.mkv").write_bytes(path.read_bytes())
    path.write_bytes(fault(path.read_bytes()))
    for which in (ALL, MIDDLE):
        with pytest.raises(ImageRejected) as error:
            read(path, which)
        assert re.match(message, f"{error.value.reason}: {error.value.detail}")
        assert "\n" not in error.value.detail


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FRAMES", 24, "more than 24 frames"),
        ("MAX_SECONDS", 0.0, "decoded within 0 s, found one that takes longer"),
        ("MAX_FRAME_PIXELS", 64 * 64 - 1, "64 x 64 pixels, limit 4095"),
    ],
)
def test_what_is_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, message: str
) -> None:
    """A video of too many frames, of too large ones, or that takes too long, is one line, before it fills memory."""
    path = write_clip(tmp_path / "long.mkv")
    monkeypatch.setattr(frames, limit, value)
    with pytest.raises((InputError, ImageRejected), match=message):
        read(path, ALL)


def test_averages_are_naive_ones() -> None:
    """A mean embedding, of unit length, and the logarithm of the mean probabilities are those of numpy and scipy."""
    rng = np.random.default_rng(0)
    own = rng.standard_normal((7, 5)).astype(np.float32) * 10
    mean = own.mean(axis=0)
    assert average_embedding(own) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert np.exp(average_prediction(own)) == pytest.approx(softmax(own, axis=1).mean(axis=0), abs=1e-6)
    assert average_embedding(np.zeros((2, 3), np.float32)).tolist() == [0, 0, 0]
    assert np.isfinite(average_prediction(np.array([[1000.0, 0.0]], np.float32))).all()
