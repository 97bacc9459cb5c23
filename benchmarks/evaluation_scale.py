"""What evaluations of large sets cost: metrics and intervals, and probes as items and classes grow.

    python -m benchmarks.evaluation_scale metrics
    python -m benchmarks.evaluation_scale probe --items 100000 --width 512 --classes 100 [--scikit] [--half] [--shots]
    python -m benchmarks.evaluation_scale probes

Features are drawn, with the traits of a network's: of unequal spread (the i-th axis i^-0.7), turned, off the origin, a
centre a class, a tenth of the labels wrong. `--half` keeps them in a file of float16, which is mapped. A fifth of the
items chooses the strength; 10,000 more are the test. `--scikit` fits LogisticRegression at the strength that the search
found, with the paper's 1,000 iterations. `probes` runs a series, a process each. Memory is what a process has at its
peak, less what it had when the features were there.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.few_shot import few_shot
from trainer.evaluation.logistic import Settings
from trainer.evaluation.metrics import (
    accuracy,
    label_ranks,
    map_11_point,
    mean_per_class,
    mean_top1_top5,
    roc_auc,
    softmax,
)
from trainer.evaluation.probe import Labelled, ProbeResult, Splits, probe
from trainer.evaluation.resampling import bootstrap_interval

NUM_TEST = 10_000
SERIES = ((10_000, 512, 10), (100_000, 512, 10), (1_000_000, 512, 10), (10_000, 512, 100), (100_000, 512, 100),
          (10_000, 512, 1_000))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("metrics", "probe", "probes"))
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scikit", action="store_true", help="scikit-learn on the same features")
    parser.add_argument("--half", action="store_true", help="features in a file of float16")
    parser.add_argument("--shots", action="store_true", help="few-shot probes too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.what == "metrics":
        time_metrics()
    elif given.what == "probes":
        run_series(given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            time_probe(given, folder)


def run_series(given: argparse.Namespace) -> None:
    """Run the sizes of SERIES, a process each; scikit-learn beside those that it fits in a minute."""
    for items, width, classes in SERIES:
        size = ["--items", items, "--width", width, "--classes", classes, "--threads", given.threads]
        flags = ["--scikit"] if items * classes <= 1_000_000 else []
        command = [sys.executable, "-m", "benchmarks.evaluation_scale", "probe", *map(str, size), *flags]
        subprocess.run(command, check=True)


def time_metrics() -> None:
    """Print the processor's seconds of each step at the size of the paper's sets; intervals of 1,000 draws."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1_000, 50_000)
    logits = rng.normal(size=(50_000, 1_000)).astype(np.float32)
    logits[np.arange(50_000), labels] += 3
    print("| 50,000 x 1,000 | seconds |\n|---|---:|")
    _row("softmax", lambda: softmax(logits))
    _row("ranks", lambda: label_ranks(logits, labels))
    for name, metric in (("accuracy", accuracy), ("mean per class", mean_per_class)):
        _row(f"interval of {name}", partial(bootstrap_interval, metric, logits, labels))
    kinetics, own = logits[:31_669, :700], labels[:31_669] % 700
    _row("31,669 x 700, interval of top-1 and top-5", lambda: bootstrap_interval(mean_top1_top5, kinetics, own))
    hot = (rng.random((4_952, 20)) < 0.08).astype(np.int64)
    several = rng.normal(size=(4_952, 20)) + 2 * hot
    _row("4,952 x 20, interval of 11-point mAP", lambda: bootstrap_interval(map_11_point, several, hot))
    two, truth = rng.normal(size=(32_768, 2)), rng.integers(0, 2, 32_768)
    _row("32,768 x 2, interval of ROC AUC", lambda: bootstrap_interval(roc_auc, two, truth))
    print(f"peak memory {_peak_mb():,} MB, of which the logits are {logits.nbytes >> 20} MB")


def _row(name: str, work: Callable[[], Any]) -> None:
    start = time.process_time()
    work()
    print(f"| {name} | {time.process_time() - start:.2f} |")


def time_probe(given: argparse.Namespace, folder: str) -> None:
    """Print what a probe takes and finds, then scikit-learn's."""
    features, labels = _drawn(given, folder)
    names = tuple(map(str, range(given.items)))
    test = Labelled(features[given.items :], labels[given.items :], tuple(map(str, range(NUM_TEST))))
    splits = Splits(Labelled(features[: given.items], labels[: given.items], names), test, given.classes)
    before = _peak_mb()
    print(f"{given.items:,} x {given.width} features, {given.classes:,} classes, {given.threads} threads", flush=True)
    start = _clocks()
    found = probe(splits, accuracy, Settings())
    print(
        f"  ours: {100 * found.value:.2f} % at strength {found.strength:.3g}, {_since(start)}, "
        f"{_peak_mb() - before:,} MB; iterations by strength: {_iterations(found)}",
        flush=True,
    )
    if given.shots:
        start = _clocks()
        for each in few_shot(splits, accuracy):
            print(f"  {each.shots} shots: {100 * each.value:.2f} %", flush=True)
        print(f"  few-shot probes, {_since(start)}, {_peak_mb() - before:,} MB", flush=True)
    if given.scikit:
        _time_scikit(splits, found.strength)


def _iterations(found: ProbeResult) -> str:
    return ", ".join(f"{trial.strength:.2g}: {trial.num_iterations}" for trial in found.trials)


def _time_scikit(splits: Splits, strength: float) -> None:
    """Print a single fit of scikit-learn's, of the 16 that its search would take."""
    from sklearn.linear_model import LogisticRegression

    start = _clocks()
    with warnings.catch_warnings(action="ignore"):  # that it has not converged
        model = LogisticRegression(C=1 / strength, max_iter=1000)
        model.fit(np.asarray(splits.train.features), splits.train.labels)
    taken = _since(start)
    value = model.score(np.asarray(splits.test.features), splits.test.labels)
    print(f"  scikit-learn, one fit: {100 * value:.2f} %, {taken}, {model.n_iter_[0]} iterations", flush=True)


def _drawn(given: argparse.Namespace, folder: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return features and labels of the items and NUM_TEST more."""
    rng = np.random.default_rng(0)
    num_items, width = given.items + NUM_TEST, given.width
    dtype = np.float16 if given.half else np.float32
    place = Path(folder, "features")
    features: NDArray[Any] = (
        np.memmap(place, dtype, "w+", shape=(num_items, width)) if given.half else np.empty((num_items, width), dtype)
    )
    labels = rng.integers(0, given.classes, num_items)
    spread = np.arange(1, width + 1, dtype=np.float32) ** -0.7
    centres = 0.7 * rng.normal(size=(given.classes, width)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
    for start in range(0, num_items, 10_000):
        own = labels[start : start + 10_000]
        drawn = rng.standard_normal((len(own), width), np.float32)
        features[start : start + 10_000] = spread * (drawn + centres[own]) @ turn + 1
    wrong = rng.random(num_items) < 0.1
    return features, np.where(wrong, rng.integers(0, given.classes, num_items), labels)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> str:
    """Return seconds of the wall and of the processor: the latter say more where a machine is busy."""
    wall, processor = (now - then for now, then in zip(_clocks(), start, strict=True))
    return f"{wall:.1f} s ({processor:.1f} s of processor)"


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
