"""The linear probe beside scikit-learn's LogisticRegression: the same features, strengths and search.

    python -m benchmarks.probe data/eval/cifar10 [--checkpoint runs/model] [--cache features/] [--threads 2]

Features are a checkpoint's, or else of an untrained Transformer of ViT-B's width (32 px, patches of 8 px, 4 blocks).
Of the set three fifths are trained on, a fifth chooses the strength, a fifth is the test. Prints what each strength of
the search is worth and takes in both, then whole probes, then few shots. Time is of the wall; for "loss" lower is
better: the objective over its items, in float64.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from trainer.evaluation.features import Embedding, embed_set
from trainer.evaluation.few_shot import few_shot
from trainer.evaluation.logistic import Settings, fit, prepare, score
from trainer.evaluation.metrics import accuracy
from trainer.evaluation.probe import STRENGTHS, Labelled, Splits, probe, search_strengths, split_off
from trainer.evaluation.sets import open_set
from trainer.interchange.reading import read_model
from trainer.models.build import AnyModel, build_model
from trainer.models.config import CONFIGS, ClipConfig, VisionConfig

WIDE = ClipConfig(512, VisionConfig(image_px=32, patch_px=8, width=768, layers=4, heads=12), CONFIGS["ViT-tiny/8"].text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="[NAME=][FORMAT:]PATH of an evaluation set")
    parser.add_argument("--checkpoint", default="", help="default: an untrained Transformer")
    parser.add_argument("--cache", default="", help="folder in which features are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shots", action="store_true", help="few-shot probes too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model: AnyModel = read_model(given.checkpoint)[0] if given.checkpoint else build_model(WIDE, seed=0)
    found = embed_set(model.eval(), open_set(given.data), Embedding(given.cache))
    whole = Labelled(found.features, found.labels, tuple(found.items))
    rest, test = split_off(whole, 0.2, "benchmark")
    train, validation = split_off(rest, 0.25)
    splits = Splits(train, test, len(found.classes), validation)
    print(f"{given.data}: {len(train.items)} x {train.features.shape[1]} features, {splits.num_classes} classes")
    compare_strengths(splits)
    result, seconds = _timed(lambda: probe(splits, accuracy))
    print(f"a probe, ours: {_told(result.value, result.strength, seconds)}")
    if given.shots:
        results, seconds = _timed(lambda: few_shot(splits, accuracy))
        for each in results:
            print(f"{each.shots:2d} shots: {100 * each.value:.2f} % +- {100 * each.deviation:.2f}")
        print(f"{sum(len(each.values) for each in results)} few-shot probes in {seconds:.1f} s")
    (value, strength), seconds = _timed(lambda: scikit_probe(splits))
    print(f"a probe, scikit-learn: {_told(value, strength, seconds)}")


def _told(value: float, strength: float, seconds: float) -> str:
    return f"{100 * value:.2f} % at strength {strength:.3g}, {seconds:.2f} s"


def compare_strengths(splits: Splits) -> None:
    """Print what each of the search's first strengths is worth on the test items: ours all together, theirs in turn."""
    train, test, how = splits.train, splits.test, Settings(tolerance=Settings.search_tolerance)
    strengths = STRENGTHS[::16]
    start = time.perf_counter()
    problem = prepare(train.features, train.labels, splits.num_classes, how)
    found = fit(problem, strengths, how)
    seconds = time.perf_counter() - start
    print(f"ours: {len(strengths)} strengths in {seconds:.2f} s")
    print("| strength | ours % | iterations | loss | scikit-learn % | iterations | seconds | loss |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for which, strength in enumerate(strengths):
        ours = accuracy(score(found, which, test.features), test.labels)
        weights, intercepts = found.weights[which].numpy(), found.intercepts[which].numpy()
        cells = [f"{100 * ours:.2f}", str(found.num_iterations[which]), _loss(train, weights, intercepts, strength)]
        theirs, seconds = _timed(partial(scikit_fit, train, strength))
        value = float((theirs.predict(np.asarray(test.features)) == test.labels).mean())
        loss = _loss(train, theirs.coef_, theirs.intercept_, strength)
        cells += [f"{100 * value:.2f}", str(theirs.n_iter_[0]), f"{seconds:.2f}", loss]
        print(f"| {strength:g} | " + " | ".join(cells) + " |")


def _loss(train: Labelled, weights: NDArray[Any], intercepts: NDArray[Any], strength: float) -> str:
    """Return the objective over its items, in float64."""
    logits = torch.from_numpy(np.asarray(train.features, np.float64) @ weights.T.astype(np.float64) + intercepts)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(train.labels))
    return f"{float(loss) + strength * float(np.square(weights, dtype=np.float64).sum()) / 2 / len(train.items):.8f}"


def scikit_fit(train: Labelled, strength: float) -> Any:
    """Return scikit-learn's regression, as CLIP's authors used it: at most 1,000 iterations, all else by default."""
    with warnings.catch_warnings(action="ignore"):  # that it has not converged
        return LogisticRegression(C=1 / strength, max_iter=1000).fit(np.asarray(train.features), train.labels)


def scikit_probe(splits: Splits) -> tuple[float, float]:
    """Return the accuracy and the strength of the same protocol by scikit-learn."""
    train, validation = splits.train, splits.validation
    assert validation is not None

    def judge(indices: Any) -> list[float]:
        fits = [scikit_fit(train, STRENGTHS[index]) for index in indices]
        return [each.score(np.asarray(validation.features), validation.labels) for each in fits]

    strength = STRENGTHS[search_strengths(judge)]
    final = scikit_fit(train.join(validation), strength)
    return float(final.score(np.asarray(splits.test.features), splits.test.labels)), strength


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    main()
