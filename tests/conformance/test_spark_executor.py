"""The Spark executor conforms."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.executors import NUM_BUCKETS, ExecutorSuite

pytest.importorskip("pyspark", reason="needs the extra wit[spark]")
if shutil.which("java") is None:
    pytest.skip("needs Java 17 on the PATH", allow_module_level=True)

from pipelines.executors.spark import SparkExecutor


@pytest.mark.filterwarnings("default")  # Spark's own Python warns of its own internals
class TestSparkExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, root: Path) -> Iterator[SparkExecutor]:
        return SparkExecutor(str(root), NUM_BUCKETS, "local[2,4]")
