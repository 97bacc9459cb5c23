"""The SQL files use only what DuckDB and Spark understand alike."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

import pipelines.sql

FILES = sorted(path for path in Path(pipelines.sql.__file__).parent.iterdir() if path.suffix == ".sql")
KEYWORDS = frozenset(
    """select from where group by order join left on as and or not is null case when then else end over partition
    in desc asc between inner distinct union all""".split()  # noqa: SIM905
)
FUNCTIONS = {"count", "min", "max", "sum", "row_number", "cast"}
TYPES = {"int", "bigint", "integer"}

_TOKEN = re.compile(r"--[^\n]*|'[^']*'|\$?[a-z_][a-z0-9_]*|\d+|<>|<=|>=|[=<>+*.,()-]|\s+|(.)", re.IGNORECASE)


def tokens_of(text: str) -> list[str]:
    found = []
    for match in _TOKEN.finditer(text):
        assert match.group(1) is None, f"{match.group()!r} is not in the dialect"
        if match.group().strip() and not match.group().startswith("--"):
            found.append(match.group())
    return found


def check_functions(tokens: list[str]) -> None:
    for token, after in pairwise(tokens):
        if after == "(" and re.match(r"[a-z]", token, re.IGNORECASE):
            assert token in KEYWORDS | FUNCTIONS, f"{token}(: not in the dialect"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_one_select_of_the_dialect(file: Path) -> None:
    """One lower-case SELECT; its functions are count, min, max, sum, row_number and integer casts; no quoted names."""
    text = file.read_text(encoding="utf-8")
    tokens = tokens_of(text)
    assert tokens[0] == "select"
    check_functions(tokens)
    assert all(token == token.lower() for token in tokens if not token.startswith("'"))
    for kind in re.findall(r"cast\s*\([^()]* as (\w+)\)", text):
        assert kind in TYPES


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_windows_are_row_numbers(file: Path) -> None:
    """No window but row_number() over (partition by ... order by ...)."""
    text = " ".join(file.read_text(encoding="utf-8").split())
    windows = re.findall(r"(\w+\([^()]*\)) over \( ?(.*?) order by ", text)
    assert text.count(" over (") == len(windows)
    assert all(call == "row_number()" and inside.startswith("partition by ") for call, inside in windows)


def test_the_dialect_refuses_other_functions() -> None:
    """The test itself can fail: an engine's own function, a window of another kind, a quoted name."""
    for text in ("select lower(url) from pairs", 'select "offset" from pairs'):
        with pytest.raises(AssertionError, match="not in the dialect"):
            check_functions(tokens_of(text))
