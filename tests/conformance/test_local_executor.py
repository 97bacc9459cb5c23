"""The local executor conforms, and its parts may lie under a URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.executors.local import LocalExecutor, run_sql_bucket
from pipelines.executors.parts import part_name, run_map_part, write_rows
from tests.conformance.executors import BEST, GROUPS, NUM_BUCKETS, NUMBERS, ExecutorSuite, KeepEven
from wit.stage import Step
from wit.storage import list_names, read_bytes


class TestLocalExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, root: Path) -> Iterator[LocalExecutor]:
        executor = LocalExecutor(str(root), NUM_BUCKETS, processes=2, memory_mb=1024)
        yield executor
        executor.close()


def test_parts_of_a_remote_run_are_the_local_ones(tmp_path: Path) -> None:
    """A map and a SQL part under a URL have the bytes of the same parts under a folder, and leave nothing else."""
    remote = "memory://remote-run"
    for root in (remote, str(tmp_path)):
        numbers = pa.Table.from_pylist([{"bucket": 0, "number": number} for number in range(9)], schema=NUMBERS)
        write_rows(f"{root}/numbers/{part_name(0)}", NUMBERS, numbers.to_batches())
        write_rows(f"{root}/names/{part_name(0)}", GROUPS, [])
        run_map_part(Step(KeepEven(), {"numbers": "numbers"}, "even"), root, 0, f"{root}/numbers/{part_name(0)}")
        run_sql_bucket(Step(BEST, {"numbers": "even/kept", "names": "names"}, "best"), root, 0, 512)
    for name in ("even/kept", "rejects/keep_even", "best"):
        assert read_bytes(f"{remote}/{name}/{part_name(0)}") == read_bytes(f"{tmp_path}/{name}/{part_name(0)}")
    assert read_bytes(f"{remote}/even/blobs/part-00000.txt") == b"".join(b"%d\n" % number for number in range(9))
    assert list_names(remote) == ["best", "even", "names", "numbers", "rejects"]
