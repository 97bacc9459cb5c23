"""Remote files brought here whole: over one connection, asked for again when the network fails, from where it stopped.

What a network does to a file is no damage of the file: it is an error that stops the work, never a reject.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import sleep
from typing import IO

from wit.errors import InputError
from wit.storage import locate, network_trouble, open_input, output_error, size

READ_BYTES = 1 << 20
PARTIAL = ".partial"
ATTEMPTS = 3
"""At a remote file, one after the other, that bring nothing."""
_LONGEST_WAIT_S = 60


def copy_whole(url: str, target: str, advance: Callable[[int], None], attempts: int = ATTEMPTS) -> None:
    """Copy a remote file to a local path, on which it appears when all of it is there; a copy begun before goes on.

    Waits 1, 2, 4 seconds and so on, up to a minute, between attempts. Raises InputError when `attempts` in a row bring
    nothing, OutputError when the copy cannot be written.
    """
    num_bytes = _ask_size(url, attempts)
    with open(target + PARTIAL, "ab") as file:
        advance(file.tell())
        _fill(file, url, num_bytes, advance, attempts)
        os.fsync(file.fileno())
    os.replace(target + PARTIAL, target)


def copy_if_there(url: str, target: str, advance: Callable[[int], None], attempts: int = ATTEMPTS) -> None:
    """Copy a remote file that need not be there as `copy_whole` does; what the network does to it raises as there."""
    try:
        copy_whole(url, target, advance, attempts)
    except InputError as error:
        if not _is_absent(error):
            raise


def _is_absent(error: InputError) -> bool:
    """Return whether a server said, or a file system knows, that there is no such file, or none for us."""
    cause = error.__cause__
    return isinstance(cause, FileNotFoundError) and not _may_pass(network_trouble(cause))


def _ask_size(url: str, attempts: int) -> int:
    for failures in range(1, attempts + 1):
        try:
            return size(url)
        except _network_errors() as error:
            if isinstance(error, InputError) and (error.__cause__ is None or _is_absent(error)):
                raise  # no such file, or none whose size is told
            if failures == attempts:
                raise InputError(f"{url}: cannot be reached: {error}; run the same command again") from error
            sleep(_wait_s(failures))
    raise AssertionError("attempts is at least 1")


def _may_pass(trouble: str | None) -> bool:
    """Return whether it is worth asking again: refused is refused, but a server may be busy or away."""
    is_refusal = trouble is not None and trouble.startswith("HTTP 4") and trouble not in ("HTTP 408", "HTTP 429")
    return trouble is not None and not is_refusal


def _wait_s(failures: int) -> int:
    return min(1 << (failures - 1), _LONGEST_WAIT_S)


def _fill(target: IO[bytes], url: str, num_bytes: int, advance: Callable[[int], None], attempts: int) -> None:
    failures = 0
    while target.tell() != num_bytes:
        before = target.tell()
        try:
            _append(target, url, advance)
            reason = f"expected {num_bytes:,} bytes, found {target.tell():,}"
        except _network_errors() as error:
            reason = str(error) or type(error).__name__
        failures = 0 if target.tell() > before else failures + 1
        if failures == attempts or target.tell() > num_bytes:
            raise InputError(f"{url}: cannot be copied whole: {reason}; run the same command again")
        if failures:
            sleep(_wait_s(failures))


def _append(target: IO[bytes], url: str, advance: Callable[[int], None]) -> None:
    done = target.tell()
    try:
        with open_input(url) as source:
            source.seek(done)
            _pour(source, target, advance)
    except ValueError:  # fsspec's word for a server that sends the whole, whatever is asked: from its start, then
        advance(-target.tell())
        target.truncate(0)
        with locate(url)[0].open(url, "rb", block_size=0) as source:
            _pour(source, target, advance)


def _pour(source: IO[bytes], target: IO[bytes], advance: Callable[[int], None]) -> None:
    while block := source.read(READ_BYTES):
        try:
            target.write(block)
        except OSError as error:
            raise output_error(target.name, error) from error
        advance(len(block))


def _network_errors() -> tuple[type[Exception], ...]:
    """Return what reading a remote file raises: OSError, and aiohttp's own errors where fsspec lets them through."""
    import aiohttp

    return (OSError, aiohttp.ClientError, InputError)
