"""img2dataset as the way to the web: a command that is given lists of URLs, and whose shards are read back.

It is run, never imported (it loads hundreds of megabytes), told to store bodies as they came and to decode nothing;
what it says of failures is turned into our reasons. It may stand still for ever: a body that drips, a worker that was
killed, its own ending. So it is watched. When nothing more is written it is killed, what stood is cut into smaller
shards, and a URL that stands alone is a timeout. What it cannot promise: docs/decisions/006-img2dataset-backend.md.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pyarrow as pa

from pipelines.fetching import leash
from pipelines.fetching.addresses import check_host
from pipelines.fetching.http import Policy
from pipelines.fetching.optout import TDM_RESERVATION
from pipelines.fetching.outcome import (
    CONNECTION_ERROR,
    DNS_ERROR,
    HTTP_STATUS,
    OPTED_OUT,
    RATE_LIMITED,
    TIMEOUT,
    TOO_LARGE,
    TOO_MANY_REDIRECTS,
    TRUNCATED_BODY,
    UNSUPPORTED_URL,
    Body,
    Refused,
)
from pipelines.fetching.robots import product_token
from pipelines.fetching.wire import request_url
from wit import tar
from wit.errors import StageError, UserError
from wit.storage import make_folder, read_parquet, remove, write_parquet

Outcome = tuple[str, Body | Refused]

SHARD_ROWS = (10_000, 100, 1)  # URLs of one of its shards: its own default; then what stood still, down to one URL

_BUFFERED_ROWS = 100  # its Parquet writer shows nothing of failures before that many are known
_POLL_S = 0.2
_MAX_DETAIL = 100
_MAX_LOG_BYTES = 65_536
_MAX_LOG_LINES = 3
_ENVIRONMENT = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"}

# What img2dataset 1.47 says of a failure (the text of urllib's exception) -> (reason, detail; None: its own words).
_REASONS: tuple[tuple[str, str, str | None], ...] = (
    (r"Use of image disallowed by X-Robots-Tag", OPTED_OUT, "X-Robots-Tag"),
    (r"HTTP Error 3\d\d: .*Redirection to url .* is not allowed", UNSUPPORTED_URL, "redirected to what is not http"),
    (r"HTTP Error 3\d\d: .*would lead to an infinite loop", TOO_MANY_REDIRECTS, "more than 10, or in a circle"),
    (r"HTTP Error 429\b", RATE_LIMITED, "HTTP 429"),
    (r"HTTP Error (\d{3})\b", HTTP_STATUS, r"HTTP \1"),
    (r"IncompleteRead\(", TRUNCATED_BODY, "the connection ended before the body"),
    (r"\[Errno -\d+\]", DNS_ERROR, None),  # getaddrinfo alone has negative numbers
    (r"label (empty or )?too long|codec can't encode.*label", DNS_ERROR, None),  # a redirect to no possible name
    (r"\[SSL\b|certificate verify failed", CONNECTION_ERROR, "TLS: certificate or handshake refused"),
    (r"timed out$|timed out>$", TIMEOUT, None),
    (r"unknown url type|no host given|nonnumeric port|ftp error|control characters", UNSUPPORTED_URL, None),
)
_CONNECT_TIMED_OUT = re.compile(r"\[Errno 110\]")  # the system gave up before our time was up


def refusal(message: str | None) -> Refused:
    """Return what a failure as img2dataset words it is here; an unknown one is a connection_error in its own words."""
    words = " ".join((message or "").split())
    if not _CONNECT_TIMED_OUT.search(words):
        for pattern, reason, detail in _REASONS:
            found = re.search(pattern, words)
            if found:
                return Refused(reason, found.expand(detail) if detail else words[:_MAX_DETAIL])
    return Refused(CONNECTION_ERROR, words[:_MAX_DETAIL] or None)


def require_installed() -> None:
    """Raise UserError when img2dataset is not there."""
    if importlib.util.find_spec("img2dataset") is None:
        raise UserError(
            "fetch.backend: img2dataset is not installed; install it (Python 3.12 at most) with: "
            "pip install 'wit[img2dataset]'"
        )


@dataclass(frozen=True)
class _Ending:
    """How one run of the command ended."""

    stood_still: bool
    log: str
    """Its last lines."""


@dataclass(frozen=True)
class Img2dataset:
    """Fetches URLs by img2dataset under what it can honour of a policy."""

    policy: Policy
    retries: int
    """Times that it asks again for a URL, at once."""
    start_s: float = 60.0
    """Time to start and to write, in seconds, beyond which silence that URLs cannot explain is standing still."""

    def fetch(self, urls: Sequence[str], folder: str) -> Iterator[Outcome]:
        """Yield the body or refusal of each URL, in any order; `folder`, an absolute path, is for what comes and goes.

        Raises StageError when the command ends twice without an answer to anything it was asked.
        """
        asked: dict[str, list[str]] = {}
        for url in urls:
            try:
                asked.setdefault(self._checked(url), []).append(url)
            except Refused as refused:
                yield url, refused
        for one, outcome in self._rounds(list(asked), folder):
            for url in asked[one]:
                yield url, outcome

    def _checked(self, url: str) -> str:
        """Return a URL as it is asked for; raises Refused (unsupported_url, private_address)."""
        asked = request_url(url)
        if not self.policy.allow_private:
            check_host(asked.raw_host or "")
        return str(asked)

    def _rounds(self, urls: list[str], folder: str) -> Iterator[Outcome]:
        """Run the command until every URL has its outcome."""
        lots = [(urls, 0)] if urls else []  # (URLs, size of the shards they go in: an index of SHARD_ROWS)
        num_fruitless = 0
        while lots:
            lot, size = lots.pop()
            with _round_folder(folder) as place:
                ending = self._run(lot, SHARD_ROWS[size], place)
                unanswered = dict.fromkeys(lot)
                for url, outcome in _read_shards(place, self.policy.max_bytes):
                    del unanswered[url]
                    yield url, outcome
                begun = _begun(lot, SHARD_ROWS[size], place) if ending.stood_still else set()
            stuck = [url for url in unanswered if url in begun]
            if stuck and size + 1 < len(SHARD_ROWS):
                lots.append((stuck, size + 1))
            elif stuck:
                yield from ((url, Refused(TIMEOUT, "img2dataset did not end with it")) for url in stuck)
            rest = [url for url in unanswered if url not in begun]
            if rest:
                lots.append((rest, size))
            num_fruitless = num_fruitless + 1 if len(rest) == len(lot) else 0
            if num_fruitless > 1:
                raise StageError(f"img2dataset gave no answer to {len(rest)} URLs, twice; its log ends: {ending.log}")

    def _run(self, urls: list[str], shard_rows: int, place: str) -> _Ending:
        """Run the command until it ends, has written every shard, or stands still; nothing of it is left running."""
        write_parquet(f"{place}/urls.parquet", pa.table({"url": urls}))
        num_shards = -(-len(urls) // shard_rows)
        with open(f"{place}/log", "w+b") as log:
            with _running(self._command(shard_rows, place), place, log.fileno()) as process:
                stood_still = _watch(
                    process, f"{place}/shards", num_shards, self._patience_s(min(shard_rows, len(urls)))
                )
            return _Ending(stood_still, _tail(f"{place}/log"))

    def _patience_s(self, num_urls: int) -> float:
        """Return how long, in seconds, URLs alone may keep it silent: a buffer of failures, all by timeout."""
        policy = self.policy
        turns = -(-min(_BUFFERED_ROWS, num_urls) // policy.concurrency) + 1
        return self.start_s + turns * (self.retries + 1) * policy.deadline_s

    def _command(self, shard_rows: int, place: str) -> list[str]:
        policy = self.policy
        options: dict[str, object] = {
            "url_list": f"{place}/urls.parquet",
            "input_format": "parquet",
            "url_col": "url",
            "output_folder": f"{place}/shards",
            "output_format": "webdataset",
            "disable_all_reencoding": True,  # the body as it came; and nothing is decoded, so no bomb goes off
            "extract_exif": False,
            "compute_hash": None,
            "processes_count": 1,
            "thread_count": policy.concurrency,
            "number_sample_per_shard": shard_rows,
            "timeout": policy.deadline_s,
            "retries": self.retries,
            "max_shard_retry": 0,
            "user_agent_token": product_token(policy.user_agent),
            "disallowed_header_directives": sorted({*policy.opt_outs} - {TDM_RESERVATION}),
            "enable_wandb": False,
        }
        return [
            sys.executable, "-P", "-m", "img2dataset.main", *(f"--{name}={value}" for name, value in options.items())
        ]  # fmt: skip


@contextmanager
def _round_folder(folder: str) -> Iterator[str]:
    """Make a folder for one run of the command, which takes files of an earlier one for its own."""
    place = f"{folder}/round"
    make_folder(place)
    try:
        yield place
    finally:
        remove(place)


@contextmanager
def _running(command: list[str], place: str, log: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command on a leash, in a group of its own; kill the group in the end."""
    process = subprocess.Popen(
        [sys.executable, "-P", leash.__file__, *command],
        stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=place, env=os.environ | _ENVIRONMENT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _watch(process: subprocess.Popen[bytes], shards: str, num_shards: int, patience_s: float) -> bool:
    """Wait until the command ends or all shards are there; return whether nothing was written for `patience_s`."""
    written, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(_POLL_S)
        now = _num_bytes(shards)
        if now != written:
            written, since = now, time.monotonic()
            if len(_finished(shards)) == num_shards:
                return False
        elif time.monotonic() - since > patience_s:
            return True
    return False


def _names(shards: str) -> list[str]:
    names = os.listdir(shards) if os.path.isdir(shards) else []
    return sorted(name for name in names if name != "_tmp")  # which it removes in the end


def _num_bytes(shards: str) -> int:
    return sum(os.path.getsize(os.path.join(shards, name)) for name in _names(shards))


def _finished(shards: str) -> list[str]:
    """Return the shards that are whole: their statistics are written after all else is closed."""
    return [name.removesuffix("_stats.json") for name in _names(shards) if name.endswith("_stats.json")]


def _begun(urls: list[str], shard_rows: int, place: str) -> set[str]:
    """Return the URLs of the shards that it had begun, and of those that it had ended."""
    numbers = [int(name.removesuffix(".tar")) for name in _names(f"{place}/shards") if name.endswith(".tar")]
    return {url for number in numbers for url in urls[number * shard_rows : (number + 1) * shard_rows]}


def _read_shards(place: str, max_bytes: int) -> Iterator[Outcome]:
    """Yield what the whole shards hold; a body over the limit, which it took in, is refused here."""
    for name in _finished(f"{place}/shards"):
        path = f"{place}/shards/{name}"
        urls: dict[str, str] = {}
        for row in read_parquet(f"{path}.parquet").select(["key", "url", "status", "error_message"]).to_pylist():
            if row["status"] == "success":
                urls[row["key"]] = row["url"]
            else:
                yield row["url"], refusal(row["error_message"])
        with open(f"{path}.tar", "rb") as file:
            for member in tar.members(file, f"{path}.tar"):
                key, _, suffix = member.name.partition(".")
                if suffix != "jpg":  # so it calls every body; beside it lies KEY.json
                    continue
                if member.length > max_bytes:
                    yield urls[key], Refused(TOO_LARGE, f"more than {max_bytes} bytes")
                else:
                    yield urls[key], Body(tar.read_member(file, member, f"{path}.tar"), urls[key])


def _tail(log: str) -> str:
    with open(log, "rb") as file:
        file.seek(max(os.path.getsize(log) - _MAX_LOG_BYTES, 0))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return " / ".join(lines[-_MAX_LOG_LINES:]) or "(empty)"
