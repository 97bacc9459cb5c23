"""What every executor must do. A new one is an empty subclass that says how to open it."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.executors import Executor
from pipelines.executors.parts import part_name, write_rows
from pipelines.stages.balance import Balance
from pipelines.stages.locate import locate_steps
from pipelines.stages.verb import RunSettings
from tests.matched import write_matched
from tests.pipelines.fetching.webs import random_web, write_archives, write_pairs
from tests.support import run_steps
from wit.errors import InputError, StageError
from wit.schema import REJECTS
from wit.stage import Output, Part, SqlStage, Step, View
from wit.storage import remove, remove_temporaries

Factory = pytest.TempPathFactory

NUM_BUCKETS = 4
NUMBERS = pa.schema([pa.field("bucket", pa.int32(), False), pa.field("number", pa.int64(), False)])
GROUPS = pa.schema([pa.field("number", pa.int64(), False), pa.field("name", pa.string(), True)])
RANKED = pa.schema(
    [
        pa.field("bucket", pa.int32(), False),
        pa.field("number", pa.int64(), False),
        pa.field("name", pa.string(), True),
        pa.field("num_seen", pa.int64(), False),
    ]
)


@dataclass(frozen=True)
class KeepEven:
    """Keeps even numbers, rejects odd ones, and writes every number it saw to a blob."""

    name: ClassVar[str] = "keep_even"
    reads: ClassVar[pa.Schema] = NUMBERS
    writes: ClassVar[Mapping[str, pa.Schema]] = {"kept": NUMBERS, "rejects": REJECTS}

    fail_on: int = -1
    wrong_input_on: int = -1
    die_on: int = -1
    marker: str = ""
    """A file that says that this stage has died once already."""

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        _, blob = part.blob("txt")
        for batch in batches:
            numbers = batch.column("number").to_pylist()
            if self.fail_on in numbers:
                raise RuntimeError(f"cannot stand {self.fail_on}")
            if self.wrong_input_on in numbers:
                raise InputError(f"expected no {self.wrong_input_on}, found one")
            blob.write("".join(f"{number}\n" for number in numbers).encode())
            even = [row for row in batch.to_pylist() if row["number"] % 2 == 0]
            odd = [self._reject(row) for row in batch.to_pylist() if row["number"] % 2]
            yield "kept", pa.RecordBatch.from_pylist(even, schema=NUMBERS)
            yield "rejects", pa.RecordBatch.from_pylist(odd, schema=REJECTS)
            if self.die_on in numbers and not os.path.exists(self.marker):
                Path(self.marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def _reject(self, row: dict[str, int]) -> dict[str, object]:
        return {"key": f"{row['number']:032x}", "bucket": row["bucket"], "stage": self.name, "reason": "odd"}


BEST = SqlStage(
    name="best",
    sql="""
    select numbers.bucket, numbers.number, names.name, seen.num_seen
    from (
        select bucket, number, row_number() over (partition by bucket order by number desc) as place from numbers
    ) as numbers
    join (select bucket, count(*) as num_seen from numbers group by bucket) as seen on seen.bucket = numbers.bucket
    left join names on names.number = numbers.number
    where numbers.place <= $cap
    """,
    reads={"numbers": View(NUMBERS, "bucket"), "names": View(GROUPS, None)},
    writes=RANKED,
    bucket="bucket",
    sort_by=("number",),
    parameters={"cap": 3},
)


class ExecutorSuite:
    """Inherit, and give a fixture `executor` that opens one over `root`."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for index in range(NUM_BUCKETS):
            rows = [{"bucket": index, "number": number} for number in range(index, 41, NUM_BUCKETS)]
            table = pa.Table.from_pylist(rows, schema=NUMBERS)
            write_rows(str(tmp_path / "numbers" / part_name(index)), NUMBERS, table.to_batches())
        names = pa.Table.from_pylist([{"number": 36, "name": "höchst"}, {"number": 37, "name": None}], schema=GROUPS)
        write_rows(str(tmp_path / "names" / part_name(0)), GROUPS, names.to_batches())
        return tmp_path

    def test_map_writes_every_table_of_every_part(self, executor: Executor, root: Path) -> None:
        """Kept rows, rejects and blobs of each part lie where the contract says, in the input's order."""
        done = []
        executor.map(Step(KeepEven(), {"numbers": "numbers"}, "even"), done.append)
        assert sum(done) == NUM_BUCKETS
        kept = [pq.read_table(root / "even" / "kept" / part_name(index)) for index in range(NUM_BUCKETS)]
        assert kept[2].column("number").to_pylist() == list(range(2, 41, 4))
        assert kept[1].num_rows == 0
        assert kept[1].schema.equals(NUMBERS)
        rejected = pq.read_table(root / "rejects" / "keep_even" / part_name(3))
        assert rejected.column("reason").to_pylist() == ["odd"] * 10
        assert (root / "even" / "blobs" / "part-00000.txt").read_text().split() == [str(n) for n in range(0, 41, 4)]
        assert not list(root.rglob(".tmp-*"))

    def test_map_redoes_only_what_is_missing(self, executor: Executor, root: Path) -> None:
        """A part in place is left alone; a missing one comes back with the same bytes."""
        step = Step(KeepEven(), {"numbers": "numbers"}, "even")
        executor.map(step, lambda _: None)
        gone, stays = (root / "even" / "kept" / part_name(index) for index in (0, 2))
        before, inode = gone.read_bytes(), stays.stat().st_ino
        gone.unlink()
        executor.map(step, lambda _: None)
        assert gone.read_bytes() == before
        assert stays.stat().st_ino == inode

    def test_a_killed_worker_s_part_is_redone(self, executor: Executor, root: Path, tmp_path_factory: Factory) -> None:
        """SIGKILL in the middle of a part costs nothing but time: each part is done once, no file is half written."""
        marker = tmp_path_factory.mktemp("marker") / "died"
        done: list[int] = []
        executor.map(
            Step(KeepEven(die_on=6, marker=str(marker)), {"numbers": "numbers"}, "even"),
            done.append,
        )
        assert marker.exists()
        assert sum(done) == NUM_BUCKETS
        remove_temporaries(str(root))  # what the dead one left, which a run removes at its end
        disturbed = hash_folder(root)
        for folder in ("even", "rejects"):
            remove(str(root / folder))
        executor.map(Step(KeepEven(), {"numbers": "numbers"}, "even"), done.append)
        assert hash_folder(root) == disturbed

    def test_sql_gives_the_pinned_rows(self, executor: Executor, root: Path) -> None:
        """Joins, GROUP BY, row_number and a parameter give the same rows on every engine, nulls included."""
        executor.sql(Step(BEST, {"numbers": "numbers", "names": "names"}, "best"), lambda _: None)
        rows = [
            row for index in range(NUM_BUCKETS) for row in pq.read_table(root / "best" / part_name(index)).to_pylist()
        ]
        assert [row["number"] for row in rows] == [32, 36, 40, 29, 33, 37, 30, 34, 38, 31, 35, 39]
        assert [row["name"] for row in rows if row["name"]] == ["höchst"]
        assert [row["num_seen"] for row in rows][::3] == [11, 10, 10, 10]

    def test_bytes_are_the_pinned_bytes(self, executor: Executor, root: Path) -> None:
        """The Parquet parts of a map and a SQL stage are byte for byte those of every other executor."""
        executor.map(Step(KeepEven(), {"numbers": "numbers"}, "even"), lambda _: None)
        executor.sql(Step(BEST, {"numbers": "even/kept", "names": "names"}, "best"), lambda _: None)
        assert hash_folder(root) == self.reference(root)

    def test_balance_writes_the_bytes_of_its_parts_done_one_by_one(self, executor: Executor, root: Path) -> None:
        """The chain of SQL, maps, plans and lists that is hardest on an executor gives the same tables on each."""
        twin = root.with_name(f"{root.name}-twin")
        queries = [[0, *([1 + number % 7] if number % 3 else [])] for number in range(200)]
        steps = Balance(cap=11).steps(RunSettings(num_buckets=NUM_BUCKETS))
        for folder in (root, twin):
            write_matched(folder, queries, NUM_BUCKETS, shift=0)
        run_steps(steps, twin, NUM_BUCKETS)
        self.run(executor, steps, root)
        for folder in ("balance", "rejects"):
            assert hash_folder(root / folder) == hash_folder(twin / folder)

    def test_locating_bodies_writes_the_bytes_of_its_parts_done_one_by_one(
        self, executor: Executor, root: Path
    ) -> None:
        """Joins that are cut by one hash after another, with unions and nulls, give the same tables on each."""
        twin = root.with_name(f"{root.name}-twin")
        web = random_web(5, 120)
        list(write_archives(root, web))
        steps = locate_steps(tuple(str(root / name) for name in web), "pairs", NUM_BUCKETS, 1)
        for folder in (root, twin):
            write_pairs(folder, [f"http://h{number % 7}.example/{number}" for number in range(120)], NUM_BUCKETS)
        run_steps(steps, twin, NUM_BUCKETS)
        self.run(executor, steps, root)
        assert hash_folder(root / "fetch") == hash_folder(twin / "fetch")

    def run(self, executor: Executor, steps: Iterable[Step], root: Path) -> None:
        """Run steps as a run does: plans in this process, the others by the executor."""
        for step in steps:
            if isinstance(step.stage, SqlStage):
                executor.sql(step, lambda _: None)
            elif step.sources:
                executor.map(step, lambda _: None)
            else:
                run_steps([step], root, NUM_BUCKETS)

    def reference(self, root: Path) -> str:
        """Return the hash of the same tables, written one by one in this process."""
        import duckdb

        from pipelines.executors.parts import bind, run_map_part

        twin = root.with_name(f"{root.name}-twin")
        for folder in ("numbers", "names"):
            for part in sorted((root / folder).iterdir()):
                (twin / folder).mkdir(parents=True, exist_ok=True)
                (twin / folder / part.name).write_bytes(part.read_bytes())
        step = Step(KeepEven(), {"numbers": "numbers"}, "even")
        for index in range(NUM_BUCKETS):
            run_map_part(step, str(twin), index, str(twin / "numbers" / part_name(index)))
        numbers = pq.read_table(twin / "even" / "kept")
        names = pq.read_table(twin / "names")
        assert numbers.num_rows
        assert names.num_rows
        result = duckdb.sql(bind(BEST)).to_arrow_table().sort_by("number")
        for index in range(NUM_BUCKETS):
            rows = [row for row in result.to_pylist() if row["bucket"] == index]
            table = pa.Table.from_pylist(rows, schema=RANKED)
            write_rows(str(twin / "best" / part_name(index)), RANKED, table.to_batches())
        return hash_folder(twin)

    def test_empty_source(self, executor: Executor, root: Path) -> None:
        """A source with no rows gives parts with no rows, not missing parts."""
        for index in range(NUM_BUCKETS):
            write_rows(str(root / "none" / part_name(index)), NUMBERS, [])
        executor.sql(Step(BEST, {"numbers": "none", "names": "names"}, "best"), lambda _: None)
        assert [pq.read_table(root / "best" / part_name(i)).num_rows for i in range(NUM_BUCKETS)] == [0] * NUM_BUCKETS

    def test_an_exception_in_a_stage_is_an_error_that_says_where(self, executor: Executor, root: Path) -> None:
        """A stage that raises ends the run with StageError; no part of it has a final name."""
        with pytest.raises(StageError, match=r"cannot stand 6"):
            executor.map(Step(KeepEven(fail_on=6), {"numbers": "numbers"}, "even"), lambda _: None)
        assert not (root / "even" / "kept" / part_name(2)).exists()
        assert not (root / "even" / "blobs" / "part-00002.txt").exists()

    def test_a_user_error_in_a_stage_keeps_its_exit_code(self, executor: Executor, root: Path) -> None:
        """What the user can mend arrives as such: exit code 2 and the stage's own words."""
        with pytest.raises(Exception, match=r"expected no 6, found one") as caught:
            executor.map(Step(KeepEven(wrong_input_on=6), {"numbers": "numbers"}, "even"), lambda _: None)
        assert getattr(caught.value, "exit_code", None) == 2


def hash_folder(folder: Path) -> str:
    """Return one hash over the names and bytes of every file under a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
