"""Lines of progress for logs."""

from __future__ import annotations

import pytest

from wit import progress


def test_the_last_line_is_said_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Work that ends with a line, or after one, says what is done exactly once; quick work says nothing."""
    now = iter([0.0, 3.0, 4.0, 4.0, 50.0, 53.0, 60.0, 60.0, 61.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.progress("reading", 7) as advance:
        advance(5)
        advance(2)
    assert capsys.readouterr().err == "reading: 5/7 parts, 1.7/s\nreading: 7/7 parts, 1.8/s\n"
    with progress.progress("reading", 7) as advance:
        advance(7)
    assert capsys.readouterr().err == "reading: 7/7 parts, 2.3/s\n"
    with progress.progress("reading", 7) as advance:
        advance(7)
    assert capsys.readouterr().err == ""
