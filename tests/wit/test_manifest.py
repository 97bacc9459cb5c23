"""Fingerprints: what differs is named, what does not matter is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from wit import manifest
from wit.errors import InputError, MismatchError


def test_fingerprint_of_a_small_file_is_its_sha256(tmp_path: Path) -> None:
    """A changed byte anywhere in a file of up to 64 MiB changes its fingerprint."""
    (tmp_path / "x").write_bytes(b"abc")
    assert manifest.fingerprint_file(str(tmp_path / "x")) == f"3:{hashlib.sha256(b'abc').hexdigest()}"


def test_inputs_are_walked_in_order_and_must_exist(tmp_path: Path) -> None:
    """A folder counts with every file below it; a pattern that finds nothing is an error."""
    for name in ("b/2", "b/1", "a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = manifest.fingerprint_inputs([f"{tmp_path}/b", f"{tmp_path}/a"])
    assert [Path(name).name for name in found] == ["1", "2", "a"]
    with pytest.raises(InputError):
        manifest.fingerprint_inputs([f"{tmp_path}/c"])


def test_differences_name_the_value_and_both_sides() -> None:
    """A refusal says which value differs, what it was, what it is now, and how to go on."""
    before, now = {"a": {"b": 1, "c": [2]}, "d": "x"}, {"a": {"b": 1, "c": [3]}, "e": "y"}
    assert manifest.differences(before, now) == ["a.c: [2] -> [3]", 'd: "x" -> nothing', 'e: nothing -> "y"']
    with pytest.raises(MismatchError, match=r"run was made from something else: a\.c: \[2\] -> \[3\]; .*; go home"):
        manifest.require_same("run", before, now, "go home")
    manifest.require_same("run", before, dict(before), "go home")


def test_the_code_s_fingerprint_covers_python_and_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another line of code or SQL is another fingerprint; another text file is not."""
    package = tmp_path / "codepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.sql").write_text("select 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = manifest.fingerprint_code("codepackage")
    (package / "notes.txt").write_text("x")
    assert manifest.fingerprint_code("codepackage") == before
    (package / "a.sql").write_text("select 2")
    assert manifest.fingerprint_code("codepackage") != before


def test_manifests_are_canonical(tmp_path: Path) -> None:
    """The same values give the same bytes, whatever order they were put in."""
    assert manifest.dumps({"b": 1, "a": "é"}) == b'{\n  "a": "\xc3\xa9",\n  "b": 1\n}\n'
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match="expected a manifest in JSON"):
        manifest.read(str(tmp_path / "m.json"))
