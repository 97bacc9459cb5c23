"""The local executor conforms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.executors.local import LocalExecutor
from tests.conformance.executors import NUM_BUCKETS, ExecutorSuite


class TestLocalExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, root: Path) -> Iterator[LocalExecutor]:
        executor = LocalExecutor(str(root), NUM_BUCKETS, processes=2, memory_mb=1024)
        yield executor
        executor.close()
