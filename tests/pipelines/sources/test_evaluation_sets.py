"""Evaluation sets: what names them, what is listed of them, and what is refused."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pipelines.sources.evaluation_sets import list_inputs, parse, parse_all, read_images
from wit.errors import InputError, UserError


def test_listing_a_folder(tmp_path: Path) -> None:
    """Images at any depth are listed in order of path, whatever the case of their suffix; other files are not."""
    for name in ("b/2.JPG", "b/1.png", "a.webp", "b/c/3.jpeg", "labels.txt", "b/.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    inputs = list_inputs(parse(f" pets = {tmp_path} "))
    assert [(each["set"], each["item"]) for each in inputs] == [
        ("pets", item) for item in ("a.webp", "b/1.png", "b/2.JPG", "b/c/3.jpeg")
    ]
    assert [body.decode() for _, _, body in read_images(inputs)] == [each["item"] for each in inputs]
    assert [item for _, item, _ in read_images(inputs, {("pets", "b/1.png"), ("zoo", "a.webp")})] == ["b/1.png"]


def test_listing_tars(tmp_path: Path) -> None:
    """A folder of tars, and a brace pattern, give one input a tar; the item says which tar and which member."""
    for name in ("0.tar", "1.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.addfile(tarfile.TarInfo("x/7.png"))
            archive.addfile(tarfile.TarInfo("x/7.cls"))
    for path in (tmp_path, tmp_path / "{0..1}.tar"):
        inputs = list_inputs(parse(f"pets={path}"))
        assert [item for _, item, _ in read_images(inputs)] == ["0.tar/x/7.png", "1.tar/x/7.png"]
        assert [item for _, item, _ in read_images(inputs, {("pets", "1.tar/x/7.png")})] == ["1.tar/x/7.png"]


@pytest.mark.parametrize("text", ["cifar10", "=path", "name="])
def test_malformed_sets_are_user_errors(text: str) -> None:
    """Anything but NAME=PATH is refused with what was expected."""
    with pytest.raises(UserError, match="NAME=PATH"):
        parse(text)


def test_bad_paths_are_user_errors(tmp_path: Path) -> None:
    """A missing path, an empty folder, a file that is no tar and two sets of one name are each refused."""
    (tmp_path / "file.txt").write_text("")
    for path, message in (("none", "found nothing"), (".", "found neither"), ("file.txt", r"\.tar")):
        with pytest.raises(InputError, match=message):
            list_inputs(parse(f"x={tmp_path / path}"))
    with pytest.raises(UserError, match="rename one"):
        parse_all(["a=1", "b=2", "a=3"])
