"""The benchmarks of evaluations: no image is on two sides, and a run of Figure 2's comparison goes on."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.evaluation import cifar_pairs, colours, make_sets, thumbnail
from benchmarks.objectives import CONTENDERS, Point, Settings, chosen, read_points, write_points

SETTINGS = Settings("ViT-micro/16", 2, 3, "sample", 1e-3, "0" * 64, 640)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of CIFAR-10, an image at each end of each part, and two of Caltech-101 with 8 images."""
    (tmp_path / "cifar10").mkdir()
    with tarfile.open(tmp_path / "cifar10" / "cifar10-test-10000.tar", "w") as tar:
        for label in ("cat", "ship"):
            for number in (0, 499, 500, 749, 750, 999):
                body = f"{label}{number}".encode()
                facts = tarfile.TarInfo(f"test/{label}/{number:04d}.jpg")
                facts.size = len(body)
                tar.addfile(facts, io.BytesIO(body))
    for label in ("ant", "yin_yang"):
        (tmp_path / "caltech101" / label).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "caltech101" / label / f"{number}.jpg").write_bytes(f"{label}{number}".encode())
    return tmp_path


def test_no_image_is_trained_on_and_judged(data: Path, tmp_path: Path) -> None:
    """Pairs, images to fit on and images to judge are apart, and together all that there are; captions name classes."""
    out = tmp_path / "sets"
    make_sets(data, out)
    pairs = list(cifar_pairs(data))
    parts = [{image for _, image, _ in pairs}]
    parts += [{path.read_bytes() for path in out.glob(f"cifar10/{part}/*/*.jpg")} for part in ("train", "test")]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert len(set.union(*parts)) == 12
    assert all(key.split("-")[1] in caption for key, _, caption in pairs)
    assert {part: len(list(out.glob(f"caltech101/{part}/*/*.jpg"))) for part in ("train", "test")} == {
        "train": 10,
        "test": 6,
    }


def test_what_no_network_sees() -> None:
    """A red picture with a black half has a mean of a half and a deviation of a half in red, and nothing else."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :, 0] = 255
    image = Image.fromarray(pixels)
    assert colours(image).tolist() == [0.5, 0, 0, 0.5, 0, 0]
    assert thumbnail(image).reshape(8, 8, 3)[:, :, 0].tolist() == [[1.0] * 8] * 4 + [[0.0] * 8] * 4


@pytest.mark.parametrize(("num_saved", "num_points"), [(30, 10), (31, 5), (3, 10), (1, 1)])
def test_checkpoints_that_are_evaluated_are_ever_further_apart(num_saved: int, num_points: int) -> None:
    """The last is among them, none twice, no gap is shorter than the one before but for rounding."""
    steps = [13 * number for number in range(1, num_saved + 1)]
    found = chosen(steps, num_points)
    gaps = np.diff(found)
    assert found[-1] == steps[-1]
    assert set(found) <= set(steps)
    assert len(found) <= num_points
    assert (gaps > 0).all()
    assert (np.diff(gaps) >= -13).all()


def test_a_comparison_goes_on(tmp_path: Path) -> None:
    """Points that are there are read again; a folder of another model's ends the program instead of mixing both."""
    points = [Point(CONTENDERS[0].name, 0, seen, 0.25, 3.5) for seen in (64, 640)]
    assert read_points(tmp_path / "out", SETTINGS) == []
    write_points(tmp_path / "out", points)
    assert read_points(tmp_path / "out", SETTINGS) == points
    with pytest.raises(SystemExit, match=r"expected .*ViT-tiny/8.*, found others; name another folder"):
        read_points(tmp_path / "out", Settings("ViT-tiny/8", 2, 3, "sample", 1e-3, "0" * 64, 640))
