"""Atomic publishing, and the names that users write."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from tests.served_file import served
from wit import patterns, storage
from wit.errors import InputError, OutputError


def test_publish_is_all_or_nothing(tmp_path: Path) -> None:
    """A block that raises leaves neither the file nor a temporary; the old content stays."""
    target = tmp_path / "a" / "b.txt"
    storage.publish_text(str(target), "old")

    def break_off() -> None:
        with storage.publish(str(target)) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["b.txt"]


def test_a_read_that_fails_on_the_way_names_its_file(tmp_path: Path) -> None:
    """A file that opens, and then cannot be read, is an InputError about this file."""
    file = tmp_path / "bad-disk"
    file.write_bytes(b"1")

    def read_on() -> None:
        with storage.reading(str(file)) as opened:
            assert opened.read() == b"1"
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(InputError, match=r"bad-disk: cannot be read: Input/output error"):
        read_on()


def test_nothing_has_the_final_name_before_publish(tmp_path: Path) -> None:
    """While the file is being written its final name does not exist."""
    draft = storage.Draft(str(tmp_path / "x"))
    draft.file.write(b"1")
    assert storage.list_names(str(tmp_path)) == []
    draft.publish()
    assert storage.list_names(str(tmp_path)) == ["x"]


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    """ENOSPC becomes an OutputError that says so, and the draft is gone."""
    with pytest.raises(OutputError, match="no space left"), storage.publish(str(tmp_path / "x")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_went_is_told(tmp_path: Path) -> None:
    """A folder that vanishes under a draft, as that of a mount does, is said with what to do."""
    draft = storage.Draft(str(tmp_path / "mount" / "x"))
    (tmp_path / "mount").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"mount/x: .*its folder is gone; put it back"):
        draft.publish()


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    """A path through a file is refused with the path and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        storage.publish_text(str(tmp_path / "file" / "x"), "")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("{0..2}.tar", ["0.tar", "1.tar", "2.tar"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{x,y}{0..1}", ["x0", "x1", "y0", "y1"]),
        ("{single}", ["{single}"]),
    ],
)
def test_braces_expand_as_in_a_shell(pattern: str, names: list[str]) -> None:
    """Ranges keep their width, lists alternate, the rest is left as it is."""
    assert patterns.expand_braces(pattern) == names


@pytest.mark.parametrize("pattern", ["{0..999999999999}.tar", "{0..999}{0..999}{0..999}", f"{{0..{'9' * 18}}}"])
def test_braces_that_give_too_many_names(pattern: str) -> None:
    """A range with a digit too many is a mistake that is told at once, not memory that runs out."""
    with pytest.raises(InputError, match=r"at most 1,000,000 names in braces"):
        patterns.expand_braces(pattern)


def test_expand_sorts_globs_and_refuses_what_is_not_there(tmp_path: Path) -> None:
    """A glob gives its files in order; a pattern that finds nothing is an error that names it."""
    for name in ("b.gz", "a.gz"):
        (tmp_path / name).write_text("")
    assert [Path(url).name for url in patterns.expand(f"{tmp_path}/*.gz")] == ["a.gz", "b.gz"]
    with pytest.raises(InputError, match=r"none\.gz"):
        patterns.expand(f"{tmp_path}/none.gz")
    with pytest.raises(InputError, match="found nothing"):
        patterns.expand(f"{tmp_path}/*.xz")


def test_a_server_without_ranges_is_told() -> None:
    """A file of more than a block can be read only in parts; a server that sends none is named in one line."""

    def read(url: str) -> None:
        with storage.reading(url) as file:
            while file.read(1 << 20):
                pass

    with served(bytes(12 << 20), ranges=False) as url, pytest.raises(InputError, match=r"a\.xml: the server sends no"):
        read(url)


def test_remote_urls_go_through_fsspec() -> None:
    """The same calls work on a URL: published whole, listed, read by range, removed."""
    url = "memory://storage-test/folder/file"
    storage.publish_bytes(url, b"0123456789")
    assert storage.exists(url)
    assert storage.list_names("memory://storage-test/folder") == ["file"]
    assert storage.read_range(url, 3, 4) == b"3456"
    with pytest.raises(InputError, match="expected 4 bytes at 8"):
        storage.read_range(url, 8, 4)
    storage.remove("memory://storage-test")
    assert not storage.exists(url)


def test_all_files_below_a_folder(tmp_path: Path) -> None:
    """In order, behind links to folders too, on a disk as behind a URL; a link to a folder above is not followed."""
    names = ["a/1", "a/b/2", "c"]
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
        storage.publish_bytes(f"memory://walked/{name}", b"")
    (tmp_path / "set" / "d").symlink_to(tmp_path / "set" / "a")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    found = [name.removeprefix(f"{tmp_path}/set/") for name in patterns.walk_files(str(tmp_path / "set"))]
    assert found == ["a/1", "a/b/2", "c", "d/1", "d/b/2"]
    assert patterns.walk_files("memory://walked/") == [f"memory://walked/{name}" for name in names]
    folders = [str(tmp_path), "memory://walked", "memory://walked/a"]
    assert all(map(storage.is_folder, folders))
    assert not any(map(storage.is_folder, [str(tmp_path / "none"), f"{tmp_path}/set/c", "memory://walked/c"]))


def test_a_folder_goes_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while a folder is removed leaves no part of it under its name, only what the next run clears away."""
    (tmp_path / "pack" / "kept").mkdir(parents=True)
    (tmp_path / "pack" / "kept" / "part").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            storage.remove(f"{tmp_path}/pack/")
    assert storage.list_names(str(tmp_path)) == []
    storage.remove_temporaries(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_leftovers_of_dead_writers_go(tmp_path: Path) -> None:
    """Temporary files and folders vanish at any depth; nothing else does."""
    (tmp_path / "a" / ".tmp-spill-1").mkdir(parents=True)
    (tmp_path / "a" / ".tmp-spill-1" / "x").write_text("")
    (tmp_path / "a" / ".tmp-part").write_text("")
    (tmp_path / "a" / "part").write_text("")
    storage.remove_temporaries(str(tmp_path))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["a", "a/part"]


def test_join_and_base_name() -> None:
    """Slashes are single, and a URL's query is no part of its name."""
    assert storage.join("s3://bucket/a/", "b", "c") == "s3://bucket/a/b/c"
    assert storage.join("/", "a") == "/a"
    assert storage.base_name("https://h/x/y.tar?sig=1/2") == "y.tar"
    assert storage.base_name("/x/y?.tar") == "y?.tar"


class _NoCredentials(Exception):
    """What a store's package raises: neither Python's nor ours."""


_NoCredentials.__module__ = "somestore.errors"


class _Store(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store that nobody may look into."""

    protocol = "somestore"

    def ls(self, path: str, detail: bool = True, **options: object) -> list[object]:
        raise _NoCredentials("no credentials")

    _open = info = cat_file = exists = ls


@pytest.mark.parametrize(
    "ask",
    [
        storage.exists,
        storage.is_folder,
        storage.size,
        storage.list_names,
        storage.open_input,
        storage.read_bytes,
        lambda url: storage.read_range(url, 0, 1),
        lambda url: patterns.expand(f"{url}/*"),
        patterns.walk_files,
    ],
)
def test_errors_of_a_stores_own_kind_are_told(ask: Callable[[str], object]) -> None:
    """The packages that speak to stores raise classes of their own, not OSError: no credentials is one line, too."""
    fsspec.register_implementation("somestore", _Store, clobber=True)
    with pytest.raises(InputError, match=r"somestore://bucket/a.*: cannot be read: no credentials"):
        ask("somestore://bucket/a")


@pytest.mark.parametrize("url", ["http:///a.tar", "http://[::1/a.tar", "http://host:port/a.tar", "http://a b/c.tar"])
def test_urls_without_a_server_are_told(url: str) -> None:
    """Before anything is asked for, and without a wait."""
    with pytest.raises(InputError, match="no file system for this URL"):
        storage.exists(url)


def test_a_url_that_needs_more_than_a_name_is_told() -> None:
    """A file system that fsspec cannot make of the URL alone."""
    with pytest.raises(InputError, match="no file system for this URL"):
        storage.exists("reference://a.tar")
