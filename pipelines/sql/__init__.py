"""The relational steps: one SELECT a file, run unchanged by DuckDB and by Spark."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> str:
    """Return the statement of a relational step, `pipelines/sql/<name>.sql`."""
    return (resources.files(__package__) / f"{name}.sql").read_text(encoding="utf-8")
