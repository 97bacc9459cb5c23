"""Where bytes come from and go to: local paths and any URL that fsspec knows.

Publishing is atomic: bytes are written under a temporary name in the same folder, synced, then renamed, so a
final name never holds half a file, whenever the process dies. Temporary names begin with `.tmp-`. What goes to a URL
is written to a local file first, then uploaded (`wit.uploads`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from wit.errors import InputError, OutputError, UserError
from wit.uploads import remove_left, upload

TEMPORARY_PREFIX = ".tmp-"
ROW_GROUP_ROWS = 65_536  # rows of a Parquet row group: about 20 MB of captions and URLs

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://")
_NO_RANGES = "support range requests"  # in the ValueError that fsspec raises for an HTTP server that has none


def is_remote(url: str) -> bool:
    """Return whether `url` has a scheme other than file://."""
    return bool(_SCHEME.match(url)) and not url.startswith("file://")


def local_path(url: str) -> str:
    """Return `url` without a leading file://."""
    return url.removeprefix("file://")


def join(folder: str, *names: str) -> str:
    """Join a folder (path or URL) and names with single slashes."""
    return folder.rstrip("/") + "/" + "/".join(name.strip("/") for name in names)


def base_name(url: str) -> str:
    """Return the last component of a path or URL, without query or fragment."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0] if is_remote(url) else url
    return bare.rstrip("/").rsplit("/", 1)[-1]


def locate(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and its path there; raises InputError when there is none for it."""
    import fsspec

    try:
        if url.startswith(("http://", "https://")):
            _require_host(url)
        with asking(url):
            fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, TypeError, ValueError) as error:
        raise InputError(f"{url}: no file system for this URL ({error})") from error
    return fs, path


def _require_host(url: str) -> None:
    """Raise ValueError for a URL of a server without the server's name, or with what can be no name or port."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or parts.port == 0 or re.search(r"\s", parts.netloc):
        raise ValueError("it names no server")


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Raise InputError for what a store raises: OSErrors, and errors of the package that speaks to it.

    Those of s3's and others, such as one that there are no credentials, have no base class that is known here.
    """
    try:
        yield
    except OSError as error:
        raise input_error(url, error) from error
    except Exception as error:
        if not is_of_a_store(error):
            raise
        raise InputError(f"{url}: cannot be read: {error}") from error


def is_of_a_store(error: Exception) -> bool:
    """Return whether an error's class is of neither Python nor this package: then a store's package defines it."""
    package = type(error).__module__.partition(".")[0]
    return package not in sys.stdlib_module_names and package != __name__.partition(".")[0]


def is_folder(url: str) -> bool:
    """Return whether a folder is there; raises InputError when that cannot be had."""
    if not is_remote(url):
        return os.path.isdir(local_path(url))
    fs, path = locate(url)
    with asking(url):
        return bool(fs.isdir(path))


def exists(url: str) -> bool:
    """Return whether a file or folder is there; raises InputError when a store does not say."""
    if not is_remote(url):
        return os.path.exists(local_path(url))
    fs, path = locate(url)
    with asking(url):
        return bool(fs.exists(path))


def size(url: str) -> int:
    """Return the size of a file in bytes; raises InputError when it cannot be had."""
    with asking(url):
        if not is_remote(url):
            return os.path.getsize(local_path(url))
        fs, path = locate(url)
        num_bytes = fs.size(path)
    if num_bytes is None:
        raise InputError(f"{url}: expected a server that tells the size of a file; fetch the file and name its path")
    return int(num_bytes)


def list_names(folder: str) -> list[str]:
    """Return the sorted names in a folder, temporary ones left out; empty when there is no such folder.

    Raises InputError when the folder cannot be read.
    """
    if not is_remote(folder):
        path = local_path(folder)
        try:
            names = os.listdir(path) if os.path.isdir(path) else []
        except OSError as error:
            raise input_error(folder, error) from error
    else:
        fs, path = locate(folder)
        with asking(folder):
            entries = fs.ls(path, detail=False) if fs.exists(path) else []
        names = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries]
    return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))


def open_input(url: str) -> IO[bytes]:
    """Open a file for reading bytes; raises InputError when it is missing or unreadable."""
    with asking(url):
        if not is_remote(url):
            return open(local_path(url), "rb")
        fs, path = locate(url)
        opened: IO[bytes] = fs.open(path, "rb")
        return opened


@contextmanager
def reading(url: str) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes; raises InputError when it is missing, or cannot be read on the way."""
    with open_input(url) as file:
        try:
            yield file
        except OSError as error:
            raise input_error(url, error) from error
        except ValueError as error:
            if _NO_RANGES not in str(error):
                raise
            raise InputError(f"{url}: the server sends no parts of files; fetch the file and name the copy") from error


def input_error(url: str, error: OSError) -> InputError:
    """Return the InputError that tells a user what an OSError on reading means."""
    if isinstance(error, IsADirectoryError):
        return InputError(f"{url}: expected a file, found a folder")
    trouble = network_trouble(error)
    if isinstance(error, FileNotFoundError) and trouble is None:
        return InputError(f"{url}: expected a file here, found nothing")
    return InputError(f"{url}: cannot be read: {trouble or error.strerror or error}")


def network_trouble(error: OSError) -> str | None:
    """Return what a server or the network did where fsspec says that a file is not there; None: it is not there."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None or isinstance(cause, (FileNotFoundError, LookupError)):
        return None
    status = getattr(cause, "status", None)  # of an HTTP answer
    return None if status in (404, 410) else f"HTTP {status}" if status else str(cause) or type(cause).__name__


def read_bytes(url: str) -> bytes:
    """Return the whole of a file."""
    with open_input(url) as file:
        return file.read()


def read_range(url: str, offset: int, length: int) -> bytes:
    """Return `length` bytes of a file from `offset`; raises InputError when the file is shorter.

    Of a remote file no other byte is asked for.
    """
    if is_remote(url):
        fs, path = locate(url)
        with asking(url):
            data = fs.cat_file(path, start=offset, end=offset + length) if length else b""
    else:
        with open_input(url) as file:
            file.seek(offset)
            data = file.read(length)
    if len(data) != length:
        raise InputError(f"{url}: expected {length} bytes at {offset}, found {len(data)}")
    return bytes(data)


def output_error(url: str, error: OSError) -> UserError:
    """Return the OutputError that tells a user what an OSError on writing means."""
    hints = {
        errno.ENOSPC: "no space left on the device; free some and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
        errno.EACCES: "permission denied; choose a folder that you may write to",
        errno.EPERM: "permission denied; choose a folder that you may write to",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.ENOTDIR: "a part of this path is a file, not a folder",
        errno.EEXIST: "a file stands where a folder is needed",
        errno.ENOENT: "its folder is gone; put it back (or mount it again) and run the same command again",
    }
    return OutputError(f"{url}: cannot be written: {hints.get(error.errno or 0, error.strerror or str(error))}")


def make_folder(url: str) -> None:
    """Make a local folder and its parents (object stores need none); raises OutputError."""
    if is_remote(url):
        return
    if not url or url.encode(errors="ignore").decode() != url:
        raise OutputError(f"{url!r}: expected the name of a folder, in UTF-8; choose another")
    try:
        os.makedirs(local_path(url), exist_ok=True)
    except OSError as error:
        raise output_error(url, error) from error


class Draft:
    """A file on its way to its final name: write to `file`, then `publish()`; or `discard()`.

    A local draft lies beside its target; a remote one in a local folder, `scratch` (None: the system's temporary
    folder), until it is uploaded.
    """

    def __init__(self, url: str, scratch: str | None = None) -> None:
        self.url = url
        folder, name = os.path.split(local_path(url))
        self._name = f"{TEMPORARY_PREFIX}{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        if is_remote(url):
            import tempfile

            folder = scratch or tempfile.gettempdir()
        else:
            make_folder(folder or ".")
        self._path = os.path.join(folder, self._name)
        try:
            self.file: IO[bytes] = open(self._path, "w+b")  # noqa: SIM115
        except OSError as error:
            raise output_error(url, error) from error

    def publish(self) -> None:
        """Sync the file and give it its final name, replacing what is there."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            if is_remote(self.url):
                fs, path = locate(self.url)
                upload(fs, self._path, path, self._name)
                os.unlink(self._path)
                return
            os.replace(self._path, local_path(self.url))
            _sync_folder(os.path.dirname(local_path(self.url)) or ".")
        except OSError as error:
            self.discard()
            raise output_error(self.url, error) from error
        except NotImplementedError as error:
            self.discard()
            raise OutputError(f"{self.url}: expected a store that can be written to; choose another") from error
        except BaseException:  # of a store with errors of its own
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; harmless after publish."""
        with suppress(OSError):  # a full disk fails the flush inside close; the file goes anyway
            self.file.close()
        Path(self._path).unlink(missing_ok=True)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def publish(url: str, scratch: str | None = None) -> Iterator[IO[bytes]]:
    """Open a file that gets its final name when the block ends, and vanishes when the block raises."""
    draft = Draft(url, scratch)
    try:
        yield draft.file
    except OSError as error:
        draft.discard()
        raise output_error(url, error) from error
    except BaseException:
        draft.discard()
        raise
    draft.publish()


def publish_bytes(url: str, data: bytes) -> None:
    """Write a whole file atomically."""
    with publish(url) as file:
        file.write(data)


def publish_text(url: str, text: str) -> None:
    """Write a whole UTF-8 text file atomically."""
    publish_bytes(url, text.encode())


def remove(url: str) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine.

    A local folder goes from its place at once: a kill on the way leaves a temporary, never some of its files.
    """
    if is_remote(url):
        fs, path = locate(url)
        if fs.exists(path):
            fs.rm(path, recursive=True)
        return
    path = local_path(url).rstrip("/")
    if os.path.isdir(path) and not os.path.islink(path):
        parent, name = os.path.split(path)
        if not name.startswith(TEMPORARY_PREFIX):
            path = os.path.join(parent, f"{TEMPORARY_PREFIX}{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
            os.replace(os.path.join(parent, name), path)
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def move(source: str, target: str) -> None:
    """Give a file another name on the same file system, in the place of what is there; raises OutputError.

    On a disk there is always a file under the new name. Elsewhere there may be none for a moment, but then the source
    is still there: the same call again does it.
    """
    try:
        if not is_remote(source):
            os.replace(local_path(source), local_path(target))
            _sync_folder(os.path.dirname(local_path(target)) or ".")
            return
        fs, path = locate(target)
        if fs.exists(path):
            fs.rm_file(path)
        fs.mv(locate(source)[1], path)
    except OSError as error:
        raise output_error(target, error) from error


def remove_temporaries(folder: str) -> None:
    """Remove the files and folders that dead writers left anywhere under a folder."""
    if is_remote(folder):
        remove_left(*locate(folder), TEMPORARY_PREFIX)
        return
    for parent, folders, names in os.walk(local_path(folder)):
        for name in [name for name in (*folders, *names) if name.startswith(TEMPORARY_PREFIX)]:
            remove(os.path.join(parent, name))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def write_parquet(url: str, table: Any) -> None:
    """Publish an Arrow table as Parquet, as `write_table` writes it."""
    with publish(url) as file:
        write_table(file, table)


def write_table(file: IO[bytes], table: Any) -> None:
    """Write an Arrow table as Parquet: zstd, 64 Ki rows a group, the same bytes for the same rows."""
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def read_parquet(url: str, columns: list[str] | None = None) -> Any:
    """Return a Parquet file, or some columns of it, as an Arrow table; raises InputError when it is not one.

    Arrow reads without Python's file objects: its threads would let go of them while the interpreter ends, and abort.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_input(url) as file:
        try:
            with pa.BufferReader(file.read()) if is_remote(url) else pa.OSFile(local_path(url)) as native:
                return pq.read_table(native, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{url}: not a readable Parquet file: {error}") from error
