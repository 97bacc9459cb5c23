"""The statements that unite and compare lists, for DuckDB."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> str:
    """Return the text of `queries/sql/<name>.sql`."""
    return (resources.files(__package__) / f"{name}.sql").read_text(encoding="utf-8")
