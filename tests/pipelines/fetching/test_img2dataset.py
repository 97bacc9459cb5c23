"""img2dataset as a backend: what its words mean, what it cannot be asked, and, where it is here, what it brings."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import ExifTags, Image

from pipelines.fetching import leash
from pipelines.fetching.img2dataset import Img2dataset, refusal
from pipelines.fetching.outcome import Body, Refused
from pipelines.stages.fetch import Fetch
from tests.pipelines.fetching.faults import Script, answer, drip, raw, serving
from tests.pipelines.test_fetch import digest, fetched, picture
from wit.errors import RecipeError, StageError, UserError
from wit.image import Limits, prepare
from wit.keys import sample_key
from wit.storage import list_names, read_range

# Without its backend, which is refused where the package is missing; the stage itself does not look at it.
SETTINGS = Fetch(obey_robots=False, allow_private=True, deadline_s=2.0, retries=0, concurrency=16, side=64)

needs_img2dataset = pytest.mark.skipif(
    importlib.util.find_spec("img2dataset") is None,
    reason="img2dataset is not installed: pip install 'wit[img2dataset]'",
)

WORDS = {
    "HTTP Error 404: Not Found": ("http_status", "HTTP 404"),
    "HTTP Error 503: Service Unavailable": ("http_status", "HTTP 503"),
    "HTTP Error 304: Not Modified": ("http_status", "HTTP 304"),
    "HTTP Error 429: Too Many Requests": ("rate_limited", "HTTP 429"),
    "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop.\n"
    "The last 30x error message was:\nFound": ("too_many_redirects", "more than 10, or in a circle"),
    "HTTP Error 302: Found - Redirection to url 'file:///etc/passwd' is not allowed": (
        "unsupported_url",
        "redirected to what is not http",
    ),
    "<urlopen error ftp error: error_perm('530')>": ("unsupported_url", "<urlopen error ftp error: error_perm('530')>"),
    "<urlopen error [Errno -2] Name or service not known>": (
        "dns_error",
        "<urlopen error [Errno -2] Name or service not known>",
    ),
    "<urlopen error timed out>": ("timeout", "<urlopen error timed out>"),
    "The read operation timed out": ("timeout", "The read operation timed out"),
    "timed out": ("timeout", "timed out"),
    "<urlopen error [Errno 110] Connection timed out>": (
        "connection_error",
        "<urlopen error [Errno 110] Connection timed out>",
    ),
    "<urlopen error [Errno 111] Connection refused>": (
        "connection_error",
        "<urlopen error [Errno 111] Connection refused>",
    ),
    "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_ssl.c:1006)>": (
        "connection_error",
        "TLS: certificate or handshake refused",
    ),
    "Remote end closed connection without response": (
        "connection_error",
        "Remote end closed connection without response",
    ),
    "IncompleteRead(100 bytes read, 200 more expected)": (
        "truncated_body",
        "the connection ended before the body",
    ),
    "Use of image disallowed by X-Robots-Tag directive": ("opted_out", "X-Robots-Tag"),
    "what nobody\n foresaw": ("connection_error", "what nobody foresaw"),
    "": ("connection_error", None),
}


@pytest.mark.parametrize("words", WORDS)
def test_what_its_words_mean(words: str) -> None:
    """Each failure as img2dataset words it has one of the documented reasons, and a detail on one line."""
    found = refusal(words)
    assert (found.reason, found.detail) == WORDS[words]
    assert found.reason in Fetch.reasons


def test_a_long_message_is_cut() -> None:
    """What a server makes the message say does not swell the rejects."""
    assert len(refusal("x" * 5000).detail or "") == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("obey_robots", True),
        ("connect_to", "127.0.0.1:80"),
        ("per_host", 1),
        ("host_rate", 1.0),
        ("max_crawl_delay_s", 1.0),
        ("give_up_after", 3),
        ("retry_wait_s", 0.0),
        ("max_wait_s", 1.0),
        ("max_host_s", 60.0),
        ("max_redirects", 0),
    ],
)
def test_what_it_cannot_honour_is_a_recipe_error(field: str, value: object) -> None:
    """robots.txt must be given up in so many words; a limit that it does not have must not be asked of it."""
    with pytest.raises(RecipeError, match=f"fetch.{field}: img2dataset"):
        replace(SETTINGS, backend="img2dataset", **{field: value})


def test_a_missing_package_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe itself says which extra to install, before any stage has run."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'wit\[img2dataset\]'"):
        replace(SETTINGS, backend="img2dataset")


def test_what_our_rules_forbid_is_not_handed_over(tmp_path: Path) -> None:
    """Other schemes, credentials and private addresses are refused before the command is started."""
    urls = [
        "ftp://a.example/x",
        "http://u:p@a.example/",
        "http://127.0.0.1/x",
        "http://2130706433/",
        "file:///etc/passwd",
    ]
    policy = replace(SETTINGS, allow_private=False).policy()
    found = dict(Img2dataset(policy, retries=0).fetch(urls, str(tmp_path)))
    assert [found[url].reason for url in urls] == [  # type: ignore[union-attr]
        "unsupported_url",
        "unsupported_url",
        "private_address",
        "private_address",
        "unsupported_url",
    ]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_owner_dies(tmp_path: Path) -> None:
    """A command on the leash, and what it started, end when standard input does."""
    family = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_NOTE_AND_SLEEP!r}])"
    command = [sys.executable, leash.__file__, sys.executable, "-c", family]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path, start_new_session=True)
    note = tmp_path / "pid"
    _wait_for(lambda: note.exists() and note.read_text() != "")
    grandchild = psutil.Process(int(note.read_text()))
    process.communicate()
    _wait_for(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


_NOTE_AND_SLEEP = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"


def _wait_for(condition: Callable[[], bool]) -> None:
    expires = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < expires
        time.sleep(0.02)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An img2dataset that fails to start."""
    package = tmp_path / "packages" / "img2dataset"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text("raise SystemExit('no module named imghdr')")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("broken")
def test_a_command_that_fails_fails_the_part(tmp_path: Path) -> None:
    """Two runs without an answer are a StageError that quotes the end of its log; no folder is left."""
    with pytest.raises(StageError, match=r"no answer to 1 URLs, twice; its log ends: .*no module named imghdr"):
        list(Img2dataset(SETTINGS.policy(), retries=0).fetch(["http://127.0.0.1:9/x"], str(tmp_path / "work")))
    assert list((tmp_path / "work").iterdir()) == []


def oriented() -> bytes:
    """A JPEG that lies on its side, and says so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 10, 10)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@needs_img2dataset
@pytest.mark.slow
def test_it_brings_what_our_own_fetcher_would(tmp_path: Path) -> None:
    """Stored bytes are those of `prepare` on bodies as sent, upright; failures have our reasons; two runs are equal."""
    scripts: dict[str, Script | list[Script]] = {
        "/page": answer(b"<html>"),
        "/empty": answer(b""),
        "/cut": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nabc"),
        "/noai": answer(picture(1), X_Robots_Tag="noai"),
        "/none": answer(picture(1), X_Robots_Tag="wit: none"),
        "/other": answer(picture(2), X_Robots_Tag="otherbot: noai"),
        "/busy": answer(b"", 429),
        "/file": answer(b"", 302, Location="file:///etc/passwd"),
        "/circle": answer(b"", 302, Location="/circle"),
        "/broken": answer(picture(0)[:2000]),
        "/large": answer(bytes(100_000)),
        "/sideways": answer(oriented()),
        "/a%20b": answer(picture(3)),
        "/moved": answer(b"", 301, Location="/other"),
        **{f"/{number}": answer(picture(number)) for number in range(12)},
    }
    answers: dict[str, Script | list[Script]] = {}
    with serving(answers) as server:
        base = f"http://{server.address}"
        answers |= {base + path: script for path, script in scripts.items()}
        urls = [*answers, f"{base}/gone", f"{base}/a b", "http://127.0.0.1:9/refused", "http://no.invalid/x"]
        settings = replace(SETTINGS, backend="img2dataset", max_bytes=50_000)
        pairs = [(url, "a caption") for url in urls]
        runs = [(fetched(settings, pairs, tmp_path / name), digest(tmp_path / name)) for name in ("one", "two")]
        agents = server.agents
    assert runs[0] == runs[1]
    kept, rejects = (runs[0][0][name].to_pylist() for name in ("kept", "rejects"))
    reasons = {row["key"]: (row["reason"], row["detail"]) for row in rejects}
    found = {url.removeprefix(base): reasons.get(sample_key(url, "a caption")) for url in urls}
    assert {path: reason for path, reason in found.items() if reason} == {
        "/page": ("not_image", "begins with 3c 68 74 6d 6c 3e"),
        "/empty": ("not_image", "empty body"),
        "/cut": ("truncated_body", "the connection ended before the body"),
        "/noai": ("opted_out", "X-Robots-Tag"),
        "/none": ("opted_out", "X-Robots-Tag"),
        "/busy": ("rate_limited", "HTTP 429"),
        "/file": ("unsupported_url", "redirected to what is not http"),
        "/circle": ("too_many_redirects", "more than 10, or in a circle"),
        "/broken": ("corrupt_image", found["/broken"][1]),  # type: ignore[index]
        "/large": ("too_large", "more than 50000 bytes"),
        "/gone": ("http_status", "HTTP 404"),
        "http://127.0.0.1:9/refused": ("connection_error", "<urlopen error [Errno 111] Connection refused>"),
        "http://no.invalid/x": ("dns_error", found["http://no.invalid/x"][1]),  # type: ignore[index]
    }
    bodies = {row["key"]: row for row in kept}
    sideways = bodies[sample_key(f"{base}/sideways", "a caption")]
    assert (sideways["width"], sideways["height"]) == (20, 40)
    for number in range(12):
        row, body = bodies[sample_key(f"{base}/{number}", "a caption")], picture(number)
        stored = read_range(str(tmp_path / "one" / row["blob"]), row["offset"], row["length"])
        assert stored == prepare(body, Limits(side_px=64)).body
        assert row["original_sha256"] == hashlib.sha256(body).hexdigest()
    assert all("(compatible; wit; " in agent for agent in agents)
    assert os.listdir(tmp_path / "one/fetch/blobs") == ["part-00000.tar"]


@needs_img2dataset
@pytest.mark.slow
def test_a_body_that_drips_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would stand still for ever it is killed; the URL at fault is a timeout, all others have their bodies."""
    answers: dict[str, Script | list[Script]] = {}
    with serving(answers) as server:
        base = f"http://{server.address}"
        answers |= {f"{base}/{number}": answer(picture(number)) for number in range(8)} | {f"{base}/drip": drip()}
        monkeypatch.setattr("pipelines.fetching.img2dataset.SHARD_ROWS", (5, 1))
        client = Img2dataset(replace(SETTINGS, deadline_s=0.5).policy(), retries=0, start_s=10.0)
        found = dict(client.fetch([*answers], str(tmp_path)))
    late = found.pop(f"{base}/drip")
    assert isinstance(late, Refused)
    assert late.reason == "timeout"
    assert {url: outcome.data for url, outcome in found.items() if isinstance(outcome, Body)} == {
        f"{base}/{number}": picture(number) for number in range(8)
    }
    assert list_names(str(tmp_path)) == []
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]
