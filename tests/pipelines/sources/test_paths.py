"""Lists of archives: what their lines mean, and what is said of broken ones."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import fsspec
import pytest

from pipelines.sources.paths import expand_paths, known_by
from wit.errors import InputError

LINE = "crawl-data/CC-MAIN-2024-22/segments/1/wat/a.warc.wat.gz"


def write(path: Path, data: bytes = b"") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["wat.paths.gz", "warc.paths", "x.paths"])
def test_lines_of_a_mirror_lie_in_the_mirror(name: str, compress: type, tmp_path: Path) -> None:
    """A list inside a tree of Common Crawl names the files of that tree, whether compressed or not."""
    archive = write(tmp_path / LINE)
    listing = write(tmp_path / "crawl-data/CC-MAIN-2024-22" / name, compress(f"{LINE}\n\n".encode()))
    assert expand_paths(listing) == [archive]


def test_lines_of_a_list_by_itself_get_the_prefix(tmp_path: Path) -> None:
    """Outside such a tree lines are relative to the prefix: Common Crawl's own, or another."""
    listing = write(tmp_path / "wat.paths.gz", gzip.compress(f"{LINE}\r\n".encode() * 2))
    assert expand_paths(listing) == [f"https://data.commoncrawl.org/{LINE}"] * 2
    assert expand_paths(listing, "s3://commoncrawl") == [f"s3://commoncrawl/{LINE}"] * 2
    archive = write(tmp_path / "mirror" / LINE)
    assert expand_paths(listing, str(tmp_path / "mirror")) == [archive] * 2


def test_lines_of_a_remote_list_are_remote() -> None:
    """A list at a URL names files at that server, above its own crawl-data/, or beside it."""
    with fsspec.open("memory://here/crawl-data/X/wat.paths.gz", "wb") as file:
        file.write(gzip.compress(f"{LINE}\nother.warc.gz\nhttps://x.example/b.warc.gz".encode()))
    assert expand_paths("memory://here/crawl-data/X/wat.paths.gz") == [
        f"memory://here/{LINE}",
        "memory://here/crawl-data/X/other.warc.gz",
        "https://x.example/b.warc.gz",
    ]


def test_other_lines_are_absolute_or_beside_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths from the root are meant as they are; relative ones lie in the list's folder."""
    one, two = write(tmp_path / "one.wat"), write(tmp_path / "in" / "two.wat")
    listing = write(tmp_path / "in" / "my.paths", f"{one}\n  two.wat  \nfile://{two}".encode())
    assert expand_paths(listing) == [one, two, two]
    monkeypatch.chdir(tmp_path / "in")
    assert expand_paths("my.paths") == [one, "two.wat", two]


def test_lists_and_archives_mix_under_a_glob(tmp_path: Path) -> None:
    """What is no list stands for itself."""
    one, listing = write(tmp_path / "one.wat.gz"), write(tmp_path / "two.paths", b"one.wat.gz")
    assert expand_paths(str(tmp_path / "*")) == [one, one]
    assert expand_paths(listing) == [one]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected paths of archives"),
        (b" \n\n", "expected paths of archives"),
        (gzip.compress(LINE.encode())[:-9], "damaged"),
        (gzip.compress(LINE.encode()) + b"rest", "damaged"),
        (b"\xff\xfe", "UTF-8"),
        (b"a\x00b", "line 1: expected the path of an archive"),
        (b"\nmissing.wat.gz", "line 2: expected a file at"),
        (gzip.compress(bytes(70 << 20)), "at most 64 MiB"),
    ],
)
def test_a_broken_list_is_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    """Empty, damaged, foreign or huge lists, and lines that name nothing, say what is wrong and where."""
    listing = write(tmp_path / "wat.paths", data)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        expand_paths(listing)
    assert str(caught.value).startswith(listing)
    assert "\n" not in str(caught.value)


def test_a_remote_list_names_no_local_files() -> None:
    """What somebody else wrote does not have files of this machine read."""
    with fsspec.open("memory://there/evil.paths", "wb") as file:
        file.write(b"/etc/passwd")
    with pytest.raises(InputError, match="line 1: expected a URL or a relative path"):
        expand_paths("memory://there/evil.paths")


def test_a_list_of_remote_archives_stands_for_them(tmp_path: Path) -> None:
    """No server is asked for the sizes of a crawl; local files that a list names are known by themselves."""
    remote = write(tmp_path / "wat.paths", f"{LINE}\n{tmp_path}/b.warc\n".encode())
    local = write(tmp_path / "own.paths", b"b.warc\n")
    archive = write(tmp_path / "b.warc")
    assert known_by(remote) == [remote, archive]
    assert known_by(local) == known_by(archive) == [archive]
