"""A folder of parts of remote files, of a bounded size, that the processes of a machine share.

A part is fetched by one process, others wait for it; it has its final name when it is whole. A descriptor of a part
holds it in place: where room is needed, the parts that were used longest ago go, but for those that somebody holds. All
locks are the kernel's, so that a killed process lets go of them, and what it had not finished is removed by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import NamedTuple

from wit.errors import OutputError
from wit.storage import TEMPORARY_PREFIX, Draft, make_folder, output_error

_SUFFIX = ".part"
_ROOM, _FETCHING = ".room", ".fetching"
_NUM_LOCKS = 1 << 20  # bytes of _FETCHING, one a part: two parts that share one wait for each other once in a while


class Part(NamedTuple):
    """Bytes `start` to `stop` of a file, of which `version` tells whether it is still the same."""

    url: str
    start: int
    stop: int
    version: str

    @property
    def name(self) -> str:
        """Name of its file in the folder."""
        return hashlib.sha256("\0".join(map(str, self)).encode()).hexdigest()[:40] + _SUFFIX


class RangeCache:
    """The folder. Safe in threads and between processes; raises OutputError when it cannot be written to."""

    def __init__(self, folder: str, max_bytes: int) -> None:
        """The folder is made when something is put there."""
        self.folder, self.max_bytes = folder, max_bytes
        self._locks = [Lock() for _ in range(64)]
        self._room_lock, self._opening = Lock(), Lock()
        self._opened: dict[str, int] = {}

    def close(self) -> None:
        """Let go of the folder."""
        while self._opened:
            os.close(self._opened.popitem()[1])

    def _lock_file(self, name: str) -> int:
        """Return the descriptor of a file that is locked: one a process, as to close one would drop its locks."""
        with self._opening:
            if name not in self._opened:
                make_folder(self.folder)
                try:
                    self._opened[name] = os.open(self._path(name), os.O_CREAT | os.O_RDWR, 0o666)
                except OSError as error:
                    raise output_error(self.folder, error) from error
            return self._opened[name]

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def open(self, part: Part) -> int | None:
        """Return a descriptor of a part that is there, which stays until it is closed; None: it is not there."""
        path = self._path(part.name)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise output_error(path, error) from error
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        facts = os.fstat(descriptor)
        if facts.st_nlink and facts.st_size == part.stop - part.start:
            with suppress(OSError):  # another user's: then it counts as used when it was fetched
                os.utime(descriptor, ns=(time.time_ns(),) * 2)  # finer than what the kernel writes by itself
            return descriptor
        os.close(descriptor)  # removed in between, or cut by a machine that lost power
        if facts.st_nlink:
            _remove(path)
        return None

    def get(self, part: Part, fill: Callable[[int], None]) -> int | None:
        """Return what `open` does, or else what `store` does."""
        found = self.open(part)
        return self.store(part, fill) if found is None else found

    def store(self, part: Part, fill: Callable[[int], None]) -> int | None:
        """Return a descriptor of a part, which `fill` writes to the one it is given unless the part is there by now.

        None: there is no room, as what is there is held. What `fill` raises is raised, and nothing stays.
        """
        with self._alone(part):
            found = self.open(part)
            if found is not None:
                return found
            draft = self._reserve(part)
            if draft is None:
                return None
            try:
                fill(draft.file.fileno())
            except BaseException:
                draft.discard()
                raise
            with self._deciding():  # or others would take the unlocked file for a dead process's
                draft.publish()
                return self.open(part)

    @contextmanager
    def _alone(self, part: Part) -> Iterator[None]:
        """Be the only one, of the threads of all processes, that fetches a part."""
        number = int(part.name[:16], 16) % _NUM_LOCKS
        with self._locks[number % len(self._locks)]:
            descriptor = self._lock_file(_FETCHING)
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, number)
            try:
                yield
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, number)

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Be the only one that looks how much is there."""
        with self._room_lock:
            descriptor = self._lock_file(_ROOM)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _reserve(self, part: Part) -> Draft | None:
        """Return a file of the part's size under a temporary name, after room was made for it."""
        num_bytes = part.stop - part.start
        with self._deciding():
            if not self._make_room(num_bytes):
                return None
            draft = Draft(self._path(part.name))
            try:
                fcntl.flock(draft.file, fcntl.LOCK_EX)
                os.posix_fallocate(draft.file.fileno(), 0, num_bytes)
            except OSError as error:
                draft.discard()
                raise output_error(self.folder, error) from error
            return draft

    def _make_room(self, num_bytes: int) -> bool:
        if num_bytes > self.max_bytes:
            return False
        files = sorted(self._files())  # drafts first
        used = sum(length for *_, length, _ in files)
        for is_whole, _, length, path in files:
            if is_whole and used + num_bytes <= self.max_bytes:
                break
            if _remove_unheld(path):
                used -= length
        return used + num_bytes <= self.max_bytes

    def _files(self) -> Iterator[tuple[bool, int, int, str]]:
        """Yield (whether it is a whole part, when it was last used, bytes, path) of what lies in the folder."""
        with os.scandir(self.folder) as entries:
            for each in entries:
                is_draft = each.name.startswith(TEMPORARY_PREFIX)
                if is_draft or each.name.endswith(_SUFFIX):
                    with suppress(FileNotFoundError):  # a draft that its process gave up
                        facts = each.stat()
                        yield not is_draft, facts.st_mtime_ns, facts.st_size, each.path


def _remove_unheld(path: str) -> bool:
    """Remove a file that nobody holds; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(path)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {error.strerror}; choose another data.shard_cache") from error
    return True
