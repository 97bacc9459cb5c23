"""Publishing to a URL: whatever happens on the way, nobody finds half a file under its name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from wit import storage
from wit.errors import OutputError

DATA = bytes(range(256)) * 40


class Growing(MemoryFileSystem):  # type: ignore[misc]
    """A store in which a file is there, and grows, while it is uploaded; it may die in the middle."""

    protocol = "growing"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    dies: ClassVar[BaseException | None] = None
    seen: ClassVar[list[dict[str, bytes]]] = []
    """What a reader would have found in the middle of each upload, by path."""

    def put_file(self, lpath: str, rpath: str, **_: object) -> None:
        data = Path(lpath).read_bytes()
        self.pipe_file(rpath, data[: len(data) // 2])
        self.seen.append({path: self.cat_file(path) for path in self.find("/")})
        if self.dies is not None:
            raise self.dies
        self.pipe_file(rpath, data)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("growing://", "memory://").replace("objects://", "memory://")))


class Objects(Growing):
    """A store whose objects appear as a whole."""

    protocol = "s3"

    def put_file(self, lpath: str, rpath: str, **_: object) -> None:
        if self.dies is not None:
            raise self.dies
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def mv(self, *_: object, **__: object) -> None:
        raise AssertionError("an object that is put needs no rename")


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("growing", Growing, clobber=True)
    fsspec.register_implementation("objects", Objects, clobber=True)
    monkeypatch.setattr(Growing, "store", {})
    monkeypatch.setattr(Growing, "pseudo_dirs", [""])
    monkeypatch.setattr(Growing, "seen", [])


@pytest.mark.parametrize("before", [None, b"old"])
def test_the_name_appears_with_all_its_bytes(tmp_path: Path, before: bytes | None) -> None:
    """While an upload grows, the final name holds nothing or what was there before; then all, and no temporary."""
    if before is not None:
        storage.publish_bytes("growing://set/00000.tar", before)
        Growing.seen.clear()
    with storage.publish("growing://set/00000.tar", str(tmp_path)) as file:
        assert [path.parent for path in tmp_path.iterdir()] == [tmp_path]  # it lies in the folder that was named
        file.write(DATA)
    (middle,) = Growing.seen
    assert middle.get("/set/00000.tar") == before
    assert storage.list_names("growing://set") == ["00000.tar"]
    assert Growing.store.keys() == {"/set/00000.tar"}
    assert storage.read_bytes("growing://set/00000.tar") == DATA
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["growing", "objects"])
def test_a_store_that_fails_in_the_middle_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The error names the URL; the old file stays, no temporary does, and the next attempt goes through."""
    url = f"{scheme}://set/manifest.json"
    storage.publish_bytes(url, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(Growing, "dies", OSError("connection lost"))
        failure = pytest.raises(OutputError, match=rf"^{url}: cannot be written: connection lost$")
        with failure, storage.publish(url, str(tmp_path)) as file:
            file.write(DATA)
    assert storage.read_bytes(url) == b"old"
    assert Growing.store.keys() == {"/set/manifest.json"}
    assert list(tmp_path.iterdir()) == []
    storage.publish_bytes(url, DATA)
    assert storage.read_bytes(url) == DATA


def test_a_store_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP among others: neither renaming nor removing is there, whether or not the first step goes through."""

    def nothing(*_: object) -> None:
        raise NotImplementedError

    for method in ("mv", "rm_file"):
        monkeypatch.setattr(Growing, method, nothing)
    with pytest.raises(OutputError, match="expected a store that can be written to"):
        storage.publish_bytes("growing://set/a", DATA)
    monkeypatch.setattr(Growing, "dies", OSError("connection lost"))
    with pytest.raises(OutputError, match="cannot be written: connection lost"):
        storage.publish_bytes("growing://set/a", DATA)


def test_a_store_with_errors_of_its_own_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no OSError passes as it is, with everything cleared away."""

    class StoreError(Exception):
        pass

    monkeypatch.setattr(Growing, "dies", StoreError("quota"))
    with pytest.raises(StoreError), storage.publish("growing://set/a", str(tmp_path)) as file:
        file.write(DATA)
    assert (list(tmp_path.iterdir()), list(Growing.store)) == ([], [])


def test_what_a_killed_upload_left_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process cannot clear away: readers see no such file, and the next run removes it, and it alone."""
    storage.publish_bytes("growing://set/00000.tar", DATA)
    with monkeypatch.context() as patch:
        patch.setattr(Growing, "dies", KeyboardInterrupt())
        patch.setattr(Growing, "rm_file", lambda *_: None)  # as when nobody is there to do it
        with pytest.raises(KeyboardInterrupt):
            storage.publish_bytes("growing://set/00001.tar", DATA)
    assert len(Growing.store) == 2
    assert storage.list_names("growing://set") == ["00000.tar"]
    storage.remove_temporaries("growing://set")
    assert Growing.store.keys() == {"/set/00000.tar"}
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(".tmp-00001.tar")]
