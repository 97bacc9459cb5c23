"""What a training is made of in the eyes of the operating system: one process, threads, no named shared memory."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support import ROOT
from tests.trainer.conftest import make_samples, micro_recipe
from trainer.loader.index import read_index
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.parallel.ranks import Ranks
from wit.recipe import dumps
from wit.shards import write_shard

WATCHED = """
import json, multiprocessing, sys
multiprocessing.set_start_method("forkserver")
import psutil, torch
import trainer.session as session
from trainer.recipe import load_recipe
from trainer.training import train

torch.set_num_threads(1)
children, shared, step = set(), set(), session.train_step

def watched(*arguments):
    children.update(child.name() for child in psutil.Process().children(recursive=True))
    with open("/proc/self/maps") as maps:
        shared.update(line.split()[-1] for line in maps if "/dev/shm/" in line)
    return step(*arguments)

session.train_step = watched
result = train(load_recipe(sys.argv[1]), *sys.argv[2:], "cpu")
print(json.dumps({"step": result.step, "children": sorted(children), "shared": sorted(shared)}))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what a process has mapped")
def test_no_process_is_started_and_no_memory_is_shared_by_name(shards: Path, tmp_path: Path) -> None:
    """At every step of a training there is no child and nothing of /dev/shm, with "forkserver" as the start method.

    So no worker can leak or ask for pickled closures, and a kill leaves no memory behind.
    """
    pytest.importorskip("psutil")
    (tmp_path / "recipe.toml").write_text(dumps(micro_recipe()))
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "recipe.toml"), str(shards), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"step": 9, "children": [], "shared": []}


def test_uneven_shards_give_every_rank_as_much_and_of_everything(tmp_path: Path) -> None:
    """Shards of 1, 2 and 61 samples: two ranks get all batches of an epoch, no sample twice, none kept to itself.

    Over 30 epochs each rank sees all 64 samples: that it misses one has odds of 128 * 2^-30 = 1e-7.
    """
    samples = make_samples(64)
    for number, part in enumerate((samples[:1], samples[1:3], samples[3:])):
        write_shard(str(tmp_path), number, part)
    index = read_index(str(tmp_path), block_samples=4)
    state = LoaderState(0, 0, seed=0, batch_size=16, index_hash=index.hash)
    options = LoaderOptions(image_px=16, resize_px=16, cache_bytes=1 << 20)
    seen: list[list[str]] = []
    for rank in range(2):
        loader = Loader(index, lambda texts: np.zeros((len(texts), 1), np.int64), state, options, Ranks(rank, 2))
        with closing(iter(loader)) as batches:
            seen.append([key for batch in islice(batches, 30 * 4) for key in batch.keys])
    for epoch in range(30):
        assert len({key for rank in seen for key in rank[epoch * 32 : (epoch + 1) * 32]}) == 64
    assert [len(set(rank)) for rank in seen] == [64, 64]
