"""The work folder: what stands in it under its final name is whole, or is made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from queries.work import SUMS, WORK, is_whole, whole_folder, work_folder
from wit.errors import InputError, MismatchError


def _made(folder: Path) -> Path:
    with whole_folder(str(folder)) as draft:
        Path(draft, "a.bin").write_bytes(b"some bytes")
        assert not folder.exists()
    return folder


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """What raises leaves nothing behind; what ends well is there with its sums."""
    with pytest.raises(ZeroDivisionError), whole_folder(str(tmp_path / "x")):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    assert is_whole(str(_made(tmp_path / "x")))
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"a.bin", SUMS}
    assert not is_whole(str(tmp_path / "y"))


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "more", "no sums", "half of the sums"])
def test_what_a_crash_of_the_machine_took_is_noticed(tmp_path: Path, harm: str) -> None:
    """A file cut, changed, missing or added, or sums that cannot be read: not whole, and removed."""
    folder = _made(tmp_path / "x")
    if harm == "cut":
        (folder / "a.bin").write_bytes(b"")
    elif harm == "changed":
        (folder / "a.bin").write_bytes(b"some_bytes")
    elif harm == "gone":
        (folder / "a.bin").unlink()
    elif harm == "more":
        (folder / "b.bin").write_bytes(b"")
    elif harm == "no sums":
        (folder / SUMS).unlink()
    else:
        (folder / SUMS).write_bytes((folder / SUMS).read_bytes()[:5])
    assert not is_whole(str(folder))
    assert not folder.exists()


def test_a_kept_folder_is_of_one_version_and_ours(tmp_path: Path) -> None:
    """Others' files and other code's counts are refused; a URL is no place for them."""
    for _ in range(2):
        with work_folder(str(tmp_path / "out"), str(tmp_path / "work"), "code 1") as work:
            assert work == str(tmp_path / "work")
    with (
        pytest.raises(MismatchError, match="found those of another"),
        work_folder(str(tmp_path / "out"), str(tmp_path / "work"), "code 2"),
    ):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with (
        pytest.raises(MismatchError, match="found other files in it"),
        work_folder(str(tmp_path / "out"), str(tmp_path / "mine"), "code 1"),
    ):
        pass
    with pytest.raises(InputError, match="expected a local folder"), work_folder("out", "memory://work", "code 1"):
        pass


def _fail(out: Path, part: bool) -> Path:
    """Return the work folder of a build that fails, with a part finished or without."""
    with work_folder(str(out), None, "code") as work:
        if part:
            _made(Path(work, "part"))
        raise InputError(work)


def test_our_own_folder_goes_with_its_use(tmp_path: Path) -> None:
    """In the output folder it goes when all is done, stays after an error if anything is finished, else goes too."""
    out = tmp_path / "out"
    work = out / WORK
    with pytest.raises(InputError):
        _fail(out, part=False)
    assert not work.exists()
    with pytest.raises(InputError):
        _fail(out, part=True)
    with work_folder(str(out), None, "code"):
        assert is_whole(str(work / "part"))
    assert not work.exists()
    with pytest.raises(InputError):
        _fail(out, part=True)
    with work_folder(str(out), None, "other code"):
        assert not (work / "part").exists()
