"""Inputs that lie elsewhere: copied whole once, from any server, gone on with where a copy was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from queries.inputs import Inputs, local_copies, resolve_inputs
from tests.served_file import served
from wit.copying import PARTIAL
from wit.errors import InputError
from wit.storage import size

DATA = bytes(range(256)) * 50_000  # 12.8 MB: fsspec asks for 5 MiB at a time


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_is_copied_once(tmp_path: Path, ranges: bool) -> None:
    """A server that serves ranges, and one that sends the whole whatever is asked, give the same file; once."""
    with served(DATA, ranges) as url:
        copy = local_copies([url], str(tmp_path))[url]
        assert Path(copy).read_bytes() == DATA
        stamp = Path(copy).stat().st_mtime_ns
        assert local_copies([url], str(tmp_path)) == {url: copy}
        assert Path(copy).stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [Path(copy).name]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_copy_that_was_cut_off_goes_on(tmp_path: Path, ranges: bool) -> None:
    """What a killed build had copied is kept where the server serves ranges, and the file is whole in the end."""
    with served(DATA, ranges) as url:
        copy = Path(local_copies([url], str(tmp_path))[url])
        copy.rename(f"{copy}{PARTIAL}")
        Path(f"{copy}{PARTIAL}").write_bytes(DATA[:7_000_001])
        assert Path(local_copies([url], str(tmp_path))[url]).read_bytes() == DATA


def test_a_failing_network_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection closed without an answer is tried again; when it always is, the file is named in one line."""
    monkeypatch.setattr("wit.copying.sleep", lambda _: None)
    with served(DATA, ranges=True, failures=[1] * 99 + [0, 1, 0, 0]) as url:
        assert Path(local_copies([url], str(tmp_path))[url]).read_bytes() == DATA
    with (
        served(DATA, ranges=True, failures=[0] * 999) as url,
        pytest.raises(InputError, match=r"a\.xml: .*cannot be copied whole.*run the same command again"),
    ):
        local_copies([url], str(tmp_path / "other"))


def test_a_server_that_does_not_tell_a_size_is_named(tmp_path: Path) -> None:
    """A file of unknown size cannot be known to be whole: one line says to fetch it."""
    with served(DATA, ranges=False, sized=False) as url, pytest.raises(InputError, match="tells the size of a file"):
        size(url)


def test_local_files_stay_where_they_are(tmp_path: Path) -> None:
    """A path, or a file:// URL, is read in place."""
    (tmp_path / "a").write_bytes(b"x")
    paths = [str(tmp_path / "a"), f"file://{tmp_path}/a"]
    assert local_copies(paths, str(tmp_path / "copies")) == dict.fromkeys(paths, str(tmp_path / "a"))
    assert not (tmp_path / "copies").exists()


def test_inputs_are_found_and_named_once(tmp_path: Path) -> None:
    """Globs and braces name files; a name for nothing, and one file named twice, are mistakes."""
    for name in ("a1.bz2", "a2.bz2"):
        (tmp_path / name).write_bytes(b"x")
    assert resolve_inputs([f"{tmp_path}/a{{1..2}}.bz2"], [], []) == resolve_inputs([f"{tmp_path}/a*.bz2"], [], [])
    assert resolve_inputs([], [], []) == Inputs()
    with pytest.raises(InputError, match="expected a file here"):
        resolve_inputs([str(tmp_path / "none.xml")], [], [])
    with pytest.raises(InputError, match="found it named twice"):
        resolve_inputs([f"{tmp_path}/a*.bz2", f"{tmp_path}/a1.bz2"], [], [])
