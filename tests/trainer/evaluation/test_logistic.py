from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from trainer.evaluation import logistic
from trainer.evaluation.lbfgs import minimise
from trainer.evaluation.logistic import UNSEEN, Objective, Settings, begin, fit, prepare, score, score_turned
from trainer.evaluation.rows import Rows
from wit.errors import InputError

EXACT = Settings(tolerance=1e-9, precision="float64", max_iterations=3000)


def clusters(
    num_items: int, num_features: int, num_classes: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features as a network has them: of unequal spread, correlated, off the origin; every class occurs."""
    random = np.random.default_rng(seed)
    spread = np.arange(1, num_features + 1) ** -0.7
    labels = np.concatenate([np.arange(num_classes), random.integers(0, num_classes, num_items - num_classes)])
    centres = 0.7 * random.normal(size=(num_classes, num_features))
    turn = np.linalg.qr(random.normal(size=(num_features, num_features)))[0]
    features = spread * (random.normal(size=(num_items, num_features)) + centres[labels]) @ turn + 3
    return features.astype(np.float32), labels


def scikit(features: NDArray[Any], labels: NDArray[Any], strength: float) -> LogisticRegression:
    """Return scikit-learn's optimum; its Newton solver comes nearer than its L-BFGS, which rounding ends."""
    with warnings.catch_warnings(action="ignore"):  # that rounding ended this one too
        model = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=200, solver="newton-cholesky")
        return model.fit(features.astype(np.float64), labels)


def objective(features: NDArray[Any], labels: NDArray[Any], model: Any, strength: float) -> float:
    """Return what scikit-learn says it minimises, over strength, from its documentation's formula."""
    log_p = np.log(model.predict_proba(features.astype(np.float64)))
    return float(strength * np.square(model.coef_).sum() / 2 - log_p[np.arange(len(labels)), labels].sum())


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(
    ("num_items", "num_features", "num_classes"), [(600, 24, 10), (30, 50, 4), (300, 20, 2), (25, 40, 2)]
)
def test_optimum_is_scikit_learns(num_items: int, num_features: int, num_classes: int, strength: float) -> None:
    """Weights and intercepts agree to 1e-5 of the largest, with more items than features and with fewer."""
    features, labels = clusters(num_items, num_features, num_classes)
    theirs = scikit(features, labels, strength)
    found = fit(prepare(features, labels, num_classes, EXACT), [strength], EXACT)
    assert found.converged == (True,)
    for ours, expected in ((found.weights[0], theirs.coef_), (found.intercepts[0], theirs.intercept_)):
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_float32_finds_the_same_predictions_and_no_worse_an_objective() -> None:
    """With defaults the objective is within 1e-4 of scikit-learn's best, and 99 % of predictions are its own."""
    features, labels = clusters(1_000, 32, 10)
    how, strengths = Settings(), [1e-2, 1.0, 1e2]
    problem = prepare(features, labels, 10, how)
    found = fit(problem, strengths, how)
    for which, strength in enumerate(strengths):
        theirs = scikit(features, labels, strength)
        best = objective(features, labels, theirs, strength)
        scores = score(found, which, features)
        assert (scores.argmax(axis=1) == theirs.predict(features)).mean() >= 0.99
        theirs.coef_, theirs.intercept_ = found.weights[which].numpy(), found.intercepts[which].numpy()
        assert objective(features, labels, theirs, strength) <= best * (1 + 1e-4)


def test_scores_are_log_odds() -> None:
    """The softmax of scores is scikit-learn's predict_proba, of two classes and of more."""
    for num_classes in (2, 5):
        features, labels = clusters(200, 12, num_classes)
        problem = prepare(features, labels, num_classes, EXACT)
        scores = score(fit(problem, [1.0], EXACT), 0, features)
        shares = torch.from_numpy(scores).softmax(dim=1).numpy()
        np.testing.assert_allclose(shares, scikit(features, labels, 1.0).predict_proba(features), atol=1e-4)


def test_several_labels_are_one_regression_a_class() -> None:
    """Columns of 0 and 1 give each class what scikit-learn finds for it alone; -1 leaves an item out of that class."""
    features, labels = clusters(300, 12, 4)
    hot = np.eye(4, dtype=np.int64)[labels] | np.eye(4, dtype=np.int64)[(labels + features[:, 0].astype(int)) % 4]
    hot[:60, 1] = -1
    found = fit(prepare(features, hot, 4, EXACT), [1.0], EXACT)
    for label in range(4):
        judged = hot[:, label] >= 0
        theirs = scikit(features[judged], hot[judged, label], 1.0)
        np.testing.assert_allclose(found.weights[0, label].numpy(), theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(found.intercepts[0, label].numpy(), theirs.intercept_[0], atol=1e-3)


def test_several_labels_are_scikit_learns_one_vs_rest() -> None:
    """Log-odds of new items equal those of OneVsRestClassifier(LogisticRegression), to 1e-4."""
    features, labels = clusters(300, 12, 4)
    hot = np.eye(4, dtype=np.int64)[labels] | np.eye(4, dtype=np.int64)[(labels + features[:, 0].astype(int)) % 4]
    with warnings.catch_warnings(action="ignore"):
        theirs = OneVsRestClassifier(LogisticRegression(tol=1e-10, max_iter=200, solver="newton-cholesky"))
        theirs.fit(features[:200].astype(np.float64), hot[:200])
    found = fit(prepare(features[:200], hot[:200], 4, EXACT), [1.0], EXACT)
    expected = theirs.decision_function(features[200:].astype(np.float64))
    np.testing.assert_allclose(score(found, 0, features[200:]), expected, atol=1e-4)


def test_features_may_be_halves_in_a_file(tmp_path: Path) -> None:
    """float16 that is mapped, rows picked of it, gives what the same numbers in float32 give, bit by bit."""
    features, labels = clusters(200, 12, 4)
    mapped = np.memmap(tmp_path / "features", np.float16, "w+", shape=features.shape)
    mapped[:] = features
    picked = np.arange(0, 200, 2)
    readable = np.memmap(tmp_path / "features", np.float16, "r", shape=features.shape)
    parts = Rows.of(readable).take(picked), readable[picked].astype(np.float32)
    halves, plain = (fit(prepare(part, labels[picked], 4, Settings()), [1.0], Settings()) for part in parts)
    np.testing.assert_array_equal(score(halves, 0, readable), score(plain, 0, readable.astype(np.float32)))


def test_features_are_in_memory_once_more() -> None:
    """Preparing 40 MB and a step of 1,000 classes take 40 MB for the axes, and less than 60 besides: blocks of scores.

    All scores would be 80 MB, in float64 twice that. Measured as what NumPy and torch hold at the peak of a process.
    """
    script = """
import resource, numpy as np, torch
from trainer.evaluation.logistic import Objective, Settings, prepare
torch.set_num_threads(1)
rng = np.random.default_rng(0)
prepare(rng.normal(size=(200, 64)).astype(np.float32), np.arange(200) % 4, 4, Settings())
features, labels = rng.standard_normal((20_000, 512), np.float32), np.arange(20_000) % 1_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
problem = prepare(features, labels, 1_000, Settings())
Objective(problem, torch.ones(1, dtype=torch.float64))(torch.zeros((1, 513_000), dtype=torch.float64))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 100


def test_the_first_items_are_a_problem_of_their_own() -> None:
    """On the axes of all items the fit of the first is that of them alone, also where they have fewer classes."""
    features, labels = clusters(150, 10, 5)
    own = labels[:90] % 3
    whole = prepare(features, np.concatenate([own, labels[90:]]), 5, EXACT)
    found = fit(begin(whole, own, EXACT), [1.0], EXACT)
    alone = fit(prepare(features[:90], own, 5, EXACT), [1.0], EXACT)
    assert found.classes == alone.classes
    torch.testing.assert_close(found.weights, alone.weights, atol=1e-6, rtol=1e-5)
    judged = np.concatenate(list(score_turned(found, 0, whole.axes_NR[90:])))
    np.testing.assert_allclose(judged, score(alone, 0, features[90:]), atol=1e-4)


@pytest.mark.parametrize("kept", [(1, 3, 4), (1, 4)])
def test_a_class_without_items_is_never_predicted(kept: tuple[int, ...]) -> None:
    """Classes 1, 3 and 4 of 5: as if there were no others, whose score is the lowest."""
    features, dense = clusters(100, 8, len(kept))
    labels = np.array(kept)[dense]
    problem = prepare(features, labels, 5, EXACT)
    scores = score(fit(problem, [1.0], EXACT), 0, features)
    np.testing.assert_array_equal(scores.argmax(axis=1), scikit(features, labels, 1.0).predict(features))
    others = [label for label in range(5) if label not in kept]
    assert (scores[:, others] == UNSEEN).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([3, 40]), st.booleans())
def test_gradient_is_the_derivative(seed: int, num_features: int, is_multiple: bool) -> None:
    """Of every strength's value, by autograd of the plain formula; the curvature is positive."""
    features, labels = clusters(30, num_features, 3, seed)
    if is_multiple:
        labels = np.eye(3, dtype=np.int64)[labels]
    problem = prepare(features, labels, 3, EXACT)
    strengths = torch.tensor([0.1, 10.0], dtype=torch.float64)
    at = torch.randn((2, 3 * (problem.axes_NR.shape[1] + 1)), dtype=torch.float64, generator=torch.manual_seed(seed))
    at.requires_grad_()
    w_KCP = at.view(2, 3, -1)
    logits_KNC = (problem.axes_NR @ w_KCP[..., :-1].mT) + w_KCP[:, None, :, -1]
    log_likelihoods = (
        torch.distributions.Bernoulli(logits=logits_KNC).log_prob(problem.targets.T) if is_multiple else None
    )
    if log_likelihoods is None:
        log_likelihoods = logits_KNC.log_softmax(dim=-1)[:, torch.arange(30), problem.targets]
    plain = strengths / 2 * w_KCP[..., :-1].square().sum(dim=(1, 2)) - log_likelihoods.flatten(1).sum(dim=1)
    (expected,) = torch.autograd.grad(plain.sum(), at)
    value, gradient, curvature = Objective(problem, strengths)(at.detach())
    torch.testing.assert_close(value, plain.detach())
    torch.testing.assert_close(gradient, expected, atol=1e-8, rtol=1e-6)
    assert (curvature > 0).all()


def test_strengths_do_not_know_of_one_another() -> None:
    """Several fitted together are each what they are alone, whichever is done first."""
    features, labels = clusters(200, 16, 4)
    problem = prepare(features, labels, 4, EXACT)
    together = fit(problem, [1e4, 1e-3, 1.0], EXACT)
    for which, strength in enumerate(together.strengths):
        alone = fit(problem, [strength], EXACT)
        torch.testing.assert_close(together.weights[which], alone.weights[0], atol=1e-4, rtol=1e-3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that are read in blocks of 7 give the same value and gradient as in one."""
    features, labels = clusters(100, 8, 3)
    how = Settings(precision="float64")
    problem = prepare(features, labels, 3, how)
    ask = Objective(problem, torch.tensor([1.0], dtype=torch.float64))
    at = torch.linspace(-1, 1, 27, dtype=torch.float64)[None]
    whole = ask(at)
    monkeypatch.setattr(logistic, "_BLOCK_SIZES", {"cpu": 63})
    for ours, expected in zip(ask(at), whole, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_large_and_small_features_are_fitted(scale: float) -> None:
    """Features times s at a strength times s^2 give the same predictions, in float32 too."""
    features, labels = clusters(300, 12, 4)
    expected = scikit(features, labels, 1.0).predict(features)
    how = Settings(tolerance=1e-5 * scale)
    problem = prepare(features * np.float32(scale), labels, 4, how)
    scores = score(fit(problem, [scale**2], how), 0, features * np.float32(scale))
    assert (scores.argmax(axis=1) == expected).mean() > 0.99


def test_iterations_that_are_used_up_are_said() -> None:
    """Where 20 steps are too few for a weak strength they do for a strong one."""
    features, labels = clusters(300, 12, 4)
    how = Settings(max_iterations=20)
    found = fit(prepare(features, labels, 4, how), [1e-2, 1e2], how)
    assert found.converged == (False, True)
    assert found.num_iterations[1] < found.num_iterations[0] == 20


def test_what_cannot_get_better_ends() -> None:
    """A function whose values are spoilt by rounding is given up, not tried for ever; it did not converge."""

    class Rough:
        num_items = 1

        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            self.calls += 1
            return torch.full((1,), float(self.calls), dtype=torch.float64), torch.ones_like(at), torch.ones_like(at)

        def keep(self, which: torch.Tensor) -> None: ...

    rough = Rough()
    found = minimise(rough, torch.zeros((1, 2), dtype=torch.float64), Settings())
    assert found.converged == (False,)
    assert rough.calls < 40


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3], "item 3: expected labels of 0 to 2, found 3; leave out what has no label"),
        ([0, -1, 2, 1], "item 1: expected labels of 0 to 2, found -1"),
        ([1, 1, 1, 1], "expected training items of two classes or more, found 4 items that all agree"),
        ([0, 1, 2], r"expected features \(N, D\) with N labels, found \(4, 2\) with 3 labels"),
        ([[0, 1]] * 4, r"expected a column a class of 3, found labels of shape \(4, 2\)"),
        ([[0, 1, 2]] * 4, r"item 0: expected labels of -1 to 1, found \[0, 1, 2\]"),
    ],
)
def test_labels_that_fit_nothing_are_an_error(labels: list[Any], message: str) -> None:
    """Each is one line that says what was expected, what was found, and where."""
    with pytest.raises(InputError, match=message):
        prepare(np.zeros((4, 2), np.float32), np.array(labels), 3, Settings())


def test_features_that_are_no_numbers_are_an_error() -> None:
    """The item is named."""
    features, labels = clusters(20, 3, 2)
    features[7, 1] = np.nan
    with pytest.raises(InputError, match="item 7: expected features that are finite numbers"):
        prepare(features, labels, 2, Settings())
