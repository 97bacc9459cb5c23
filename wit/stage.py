"""The kinds of stage, and what a stage is told at run time.

A stage is a frozen dataclass: its fields are its configuration, `reads`/`writes` its contract. Executors decide where
it runs. A map stage is called once a part, so what stands above its loop is its set-up. A plan is a short look at
names and footers that cuts later work into parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, ClassVar, Protocol

import pyarrow as pa

KEPT = "kept"  # the main table of a map stage; it is published last, and its presence marks the part as done
REJECTS = "rejects"

Output = tuple[str, pa.RecordBatch]  # (name of the table, rows)


class Part(Protocol):
    """What a map stage knows of the part it works on."""

    @property
    def index(self) -> int:
        """Position of the part among the source's parts, from 0."""

    @property
    def root(self) -> str:
        """The run directory (or URL); blobs named in tables are relative to it."""

    def blob(self, suffix: str) -> tuple[str, IO[bytes]]:
        """Return (path relative to the root, an open file); the file is published with the part."""

    def scratch(self, suffix: str) -> str | None:
        """Return a local path for a file that outlives a kill, so that the part's next attempt can go on from it.

        It vanishes when the part is published. None where the run lies under a URL.
        """


class MapStage(Protocol):
    """Arrow batches in, named Arrow batches out; called once for each part of its source."""

    name: ClassVar[str]
    reads: ClassVar[pa.Schema]
    writes: ClassVar[Mapping[str, pa.Schema]]

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield (table, rows), in an order that depends on the input alone."""


@dataclass(frozen=True)
class View:
    """A table as a SQL stage sees it."""

    schema: pa.Schema
    bucket: str | None
    """Integer column by which the work may be cut; None: every bucket sees the whole table."""


@dataclass(frozen=True)
class SqlStage:
    """One SELECT that both engines run.

    The statement must give the same rows whether it sees all rows at once or one bucket after another, where a
    bucket is every row of each view whose `bucket` column has one value. `$name` in it stands for an integer
    of `parameters`. The SQL may use joins, WHERE, GROUP BY, count/min/max, row_number and integer casts only.
    """

    name: str
    sql: str
    reads: Mapping[str, View]
    writes: pa.Schema
    bucket: str
    """Integer column of the output that names the part a row belongs to."""
    sort_by: tuple[str, ...]
    """Columns that order the rows of a part; together unique."""
    parameters: Mapping[str, int] = field(default_factory=dict)


class PlanStage(Protocol):
    """Looks at names, sizes and footers only, and returns the parts of a table that a map stage will work through."""

    name: ClassVar[str]
    writes: ClassVar[pa.Schema]

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield one small table for each part of later work; runs once, in the parent process."""


@dataclass(frozen=True)
class Step:
    """A stage bound to tables of a run: `sources` by view name (a map stage has one), and a target folder.

    A table is named by its folder relative to the run. A map stage writes `target/<table>` for each table it
    names, a SQL stage or a plan writes `target` itself. A map stage's `rejects` go to `rejects/<name>`.
    """

    stage: MapStage | SqlStage | PlanStage
    sources: Mapping[str, str]
    target: str
