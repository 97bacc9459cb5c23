"""Logistic regression with an L2 penalty, for several strengths of it at once, by L-BFGS: scikit-learn's optimum.

What is minimised is `sklearn.linear_model.LogisticRegression`'s objective, with C = 1 / strength:

  the sum of the items' losses + strength / 2 * the sum of the squared weights; intercepts are free of penalty

The loss is the cross-entropy of a softmax; of two classes that of one sigmoid, as there (a softmax with both classes'
weights penalised is another objective); of items with several labels that of a sigmoid a class (one against the rest).

Three things that leave the optimum where it is make it quick to reach. The features are centred, which only moves the
intercepts. They are turned into their principal axes, which changes no norm, and of N items in D > N dimensions leaves
N. On these axes the curvature is near diagonal: about sum(p (1 - p)) / N * (the axis' sum of squares) + strength, with
p a class' probabilities at present; its inverse is where L-BFGS starts from (Nocedal and Wright, Numerical
Optimization, 2nd ed., algorithm 7.4).

Shapes: N items, B of them in a block, D features, R axes (min(N, D)), P parameters of a class (R weights and the
intercept), C classes that are fitted, K strengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.evaluation.lbfgs import minimise
from trainer.evaluation.rows import BLOCK_VALUES, Floats, Rows
from wit.errors import InputError

UNSEEN = float(np.finfo(np.float32).min)
"""The score of a class that no training item, or every one, has: there is nothing to fit."""

_BLOCK_SIZES = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Numbers of a block of items, features or scores: 4 MB stay in a CPU's cache; a GPU wants much to do at once."""


@dataclass(frozen=True)
class Settings:
    """How a regression is fitted; the number of iterations is the paper's."""

    tolerance: float = 1e-5
    """Of the Euclidean length of the gradient (on centred features) over N. scikit-learn bounds its largest part, which
    is never longer, by 1e-4."""
    search_tolerance: float = 1e-4
    """The same of fits that only choose a strength."""
    max_iterations: int = 1000
    history: int = 10
    """Steps that L-BFGS remembers; SciPy's, and so scikit-learn's, number."""
    precision: str = "float32"
    """Of the features and products; parameters and sums are in float64."""
    device: str = "cpu"


@dataclass(frozen=True)
class Axes:
    """The principal axes of some items, on which any can be seen."""

    basis_DR: Tensor
    mean_D: Tensor
    """float64."""

    def turn(self, features: Floats | Rows) -> Tensor:
        """Return features (N, D) on the axes, (N, R): beside it a block of items is in memory."""
        rows = Rows.of(features)
        turned_NR = self.basis_DR.new_empty((len(rows), self.basis_DR.shape[1]))
        start = 0
        for x_BD in _centred(rows, self.mean_D, self.basis_DR.dtype):
            turned_NR[start : start + len(x_BD)] = x_BD @ self.basis_DR
            start += len(x_BD)
        return turned_NR


@dataclass(frozen=True)
class Classes:
    """Which of the classes are fitted, and what stands for the others."""

    fitted: tuple[int, ...]
    """The class of each score that is fitted; of two exclusive classes the second."""
    num_classes: int
    zero: int | None
    """The first of two exclusive classes, whose score is 0."""

    def spread(self, logits_NC: Tensor) -> Floats:
        """Return a score for every class, (N, num_classes), of logits of those that are fitted."""
        found = logits_NC.cpu().numpy()
        scores = np.full((len(found), self.num_classes), UNSEEN, found.dtype)
        if self.zero is not None:
            scores[:, self.zero] = 0
        scores[:, list(self.fitted)] = found
        return scores


@dataclass(frozen=True)
class Problem:
    """Items on their principal axes, made once for all strengths."""

    axes_NR: Tensor
    axes: Axes
    targets: Tensor
    """int64 (N,) for a softmax, float (C, N) for sigmoids."""
    judged: Tensor | None
    """Of sigmoids, bool (C, N): what has a loss; None: everything."""
    classes: Classes

    @cached_property
    def squares(self) -> Tensor:
        """(R,): the sum of squares on each axis; float64."""
        total_R = torch.zeros(self.axes_NR.shape[1], dtype=torch.float64, device=self.axes_NR.device)
        for part in torch.split(self.axes_NR, max(1, BLOCK_VALUES // self.axes_NR.shape[1])):
            total_R += part.square().sum(dim=0)
        return total_R


@dataclass(frozen=True)
class Fit:
    """Fitted regressions, one a strength."""

    strengths: tuple[float, ...]
    parameters_KCP: Tensor
    """float64, on the problem's axes: from where the fit of another strength may start."""
    axes: Axes
    classes: Classes
    num_iterations: tuple[int, ...]
    """Steps that each tried, a pass over the items each."""
    converged: tuple[bool, ...]
    """Whether the tolerance was reached within the iterations, and within the precision."""

    @cached_property
    def weights(self) -> Tensor:
        """(K, C, D) for features as they came; float64."""
        return self.parameters_KCP[..., :-1] @ self.axes.basis_DR.double().T

    @cached_property
    def intercepts(self) -> Tensor:
        """(K, C) for features as they came."""
        return self.parameters_KCP[..., -1] - self.weights @ self.axes.mean_D


def prepare(features: Floats | Rows, labels: NDArray[np.integer], num_classes: int, how: Settings) -> Problem:
    """Return the problem of features (N, D) and labels: (N,) from 0, or (N, num_classes) of 0 and 1,
    where -1 is neither (VOC's difficult ones: no loss).

    Features of any precision are read in blocks, of which only the result is kept, (N, R). Raises InputError for labels
    out of range, for features that are no finite numbers, and where nothing tells classes apart.
    """
    check(features, labels, num_classes)
    classes = _find_classes(labels, num_classes)
    axes = _principal_axes(Rows.of(features), how)
    return Problem(axes.turn(features), axes, *_targets(labels, classes, how), classes)


def begin(problem: Problem, labels: NDArray[np.integer], how: Settings) -> Problem:
    """Return the problem of the first items, whose labels are `labels`, on the axes of all; nothing is copied."""
    classes = _find_classes(labels, problem.classes.num_classes)
    return Problem(problem.axes_NR[: len(labels)], problem.axes, *_targets(labels, classes, how), classes)


def check(features: Floats | Rows, labels: NDArray[np.integer], num_classes: int) -> None:
    """Raise InputError unless features (N, D) are finite and labels are what `prepare` takes."""
    if features.ndim != 2 or not len(features) or len(features) != len(labels):
        raise InputError(f"expected features (N, D) with N labels, found {features.shape} with {len(labels)} labels")
    if labels.ndim == 2 and labels.shape[1] != num_classes:
        raise InputError(f"expected a column a class of {num_classes}, found labels of shape {labels.shape}")
    lowest, highest = (0, num_classes - 1) if labels.ndim == 1 else (-1, 1)
    for row in np.flatnonzero(((labels < lowest) | (labels > highest)).reshape(len(labels), -1).any(axis=1))[:1]:
        raise InputError(
            f"item {row}: expected labels of {lowest} to {highest}, found {labels[row].tolist()}; "
            "leave out what has no label, or mend the list of classes"
        )
    start = 0
    for block in Rows.of(features).blocks():
        for row in np.flatnonzero(~np.isfinite(block).all(axis=1))[:1]:
            raise InputError(
                f"item {start + row}: expected features that are finite numbers, found others; leave it out"
            )
        start += len(block)


def _find_classes(labels: NDArray[np.integer], num_classes: int) -> Classes:
    """Return the classes that some items have, and others not."""
    if labels.ndim == 2:
        seen = np.flatnonzero((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).tolist()
    else:
        seen = np.flatnonzero(np.bincount(labels, minlength=num_classes)).tolist()
    if not seen or (labels.ndim == 1 and len(seen) == 1):
        raise InputError(f"expected training items of two classes or more, found {len(labels)} items that all agree")
    is_pair = labels.ndim == 1 and len(seen) == 2
    return Classes(tuple(seen[1:] if is_pair else seen), num_classes, seen[0] if is_pair else None)


def _targets(labels: NDArray[np.integer], classes: Classes, how: Settings) -> tuple[Tensor, Tensor | None]:
    """Return what the losses are of, and which are judged, as a Problem has them."""
    fitted = list(classes.fitted)
    if labels.ndim == 1 and classes.zero is None:
        return torch.from_numpy(np.searchsorted(fitted, labels)).to(how.device), None
    hot_NC = labels[:, fitted] if labels.ndim == 2 else (labels[:, None] == fitted).astype(np.int8)
    hot_CN = torch.from_numpy(np.ascontiguousarray(hot_NC.T)).to(how.device)
    return (hot_CN == 1).to(getattr(torch, how.precision)), None if (hot_NC >= 0).all() else hot_CN >= 0


def fit(problem: Problem, strengths: Sequence[float], how: Settings, start: Tensor | None = None) -> Fit:
    """Return the optimum for each strength, all found together, from `start`, (C, P) or (K, C, P), or from zeros."""
    shape = (len(strengths), len(problem.classes.fitted), problem.axes_NR.shape[1] + 1)
    strength_K = torch.tensor(strengths, dtype=torch.float64, device=how.device)
    if start is None:
        start = torch.zeros(shape[1:], dtype=torch.float64, device=how.device)
    found = minimise(Objective(problem, strength_K), start.expand(shape).flatten(1).clone(), how)
    parameters_KCP = found.parameters.view(shape)
    if problem.targets.ndim == 1:  # a softmax is the same whatever is added to all intercepts
        parameters_KCP[:, :, -1] -= parameters_KCP[:, :, -1].mean(dim=1, keepdim=True)
    facts = found.num_iterations, found.converged
    return Fit(tuple(strengths), parameters_KCP, problem.axes, problem.classes, *facts)


def score(fitted: Fit, which: int, features: Floats | Rows) -> Floats:
    """Return a score a class, (N, num_classes), of the fit of one strength: logits, UNSEEN for what was not fitted."""
    dtype, device = fitted.axes.basis_DR.dtype, fitted.axes.basis_DR.device
    weights_DC = fitted.weights[which].to(dtype).T
    intercepts_C = fitted.intercepts[which]
    blocks = (torch.from_numpy(block).to(device, dtype) for block in Rows.of(features).blocks())
    return np.concatenate([fitted.classes.spread((x_BD @ weights_DC + intercepts_C).to(dtype)) for x_BD in blocks])


def score_turned(fitted: Fit, which: int, turned_NR: Tensor) -> Iterator[Floats]:
    """Yield the same of items on the axes of the fit, some items at a time."""
    parameters_CP = fitted.parameters_KCP[which].to(turned_NR.dtype)
    for x_BR in torch.split(turned_NR, max(1, BLOCK_VALUES // fitted.classes.num_classes)):
        yield fitted.classes.spread(torch.addmm(parameters_CP[:, -1], x_BR, parameters_CP[:, :-1].T))


def _centred(rows: Rows, mean_D: Tensor, dtype: torch.dtype) -> Iterator[Tensor]:
    for block in rows.blocks():
        yield torch.from_numpy(block).to(mean_D.device, dtype) - mean_D.to(dtype)


def _principal_axes(rows: Rows, how: Settings) -> Axes:
    """Return an orthonormal basis (D, min(N, D)) of what items span when they are centred: their principal axes."""
    num_items, width = rows.shape
    dtype = getattr(torch, how.precision)
    sum_D = torch.zeros(width, dtype=torch.float64, device=how.device)
    for block in rows.blocks():
        sum_D += torch.from_numpy(block).to(how.device).sum(dim=0, dtype=torch.float64)
    mean_D = sum_D / num_items
    if num_items >= width:
        products_DD = sum_D.new_zeros((width, width))
        for x_BD in _centred(rows, mean_D, dtype):
            products_DD += x_BD.T @ x_BD
        return Axes(_eigenvectors(products_DD, dtype), mean_D)
    x_ND = torch.cat(list(_centred(rows, mean_D, dtype)))
    span_DN, r_NN = torch.linalg.qr(x_ND.double().T)
    return Axes(span_DN.to(dtype) @ _eigenvectors(r_NN @ r_NN.T, dtype), mean_D)


def _eigenvectors(symmetric: Tensor, dtype: torch.dtype) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(symmetric)[1].to(dtype)
    return vectors


class Objective:
    """The objective of each strength, its gradient, and about what its curvature is; parameters are (K, C * P)."""

    def __init__(self, problem: Problem, strength_K: Tensor) -> None:
        self.problem = problem
        self.num_items = len(problem.axes_NR)
        self.strength_K = strength_K
        self.scale_P = torch.cat([problem.squares, problem.squares.new_tensor([self.num_items])])
        """The sum of squares on each axis; the intercept's is of ones."""
        self.penalised_P = torch.ones_like(self.scale_P)
        self.penalised_P[-1] = 0

    def keep(self, which: Tensor) -> None:
        """Go on with some of the strengths."""
        self.strength_K = self.strength_K[which]

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values (K,), gradients and diagonal curvatures (K, C * P), in float64."""
        problem, num_strengths = self.problem, len(parameters)
        parameters_KCP = parameters.view(num_strengths, len(problem.classes.fitted), -1)
        weights = parameters_KCP.flatten(0, 1).to(problem.axes_NR.dtype)
        value_K = torch.zeros_like(self.strength_K)
        spread_KC = torch.zeros_like(parameters_KCP[..., 0])
        gradient_KCP = torch.zeros_like(parameters_KCP)
        height = max(1, _BLOCK_SIZES[problem.axes_NR.device.type] // max(weights.shape))
        for start in range(0, self.num_items, height):
            block = slice(start, start + height)
            x_BR, targets_B = problem.axes_NR[block], problem.targets[..., block]
            judged_CB = None if problem.judged is None else problem.judged[:, block]
            # Items come last: with few classes a softmax along them is ten times as quick, the products no slower.
            logits_KCB = torch.addmm(weights[:, -1:], weights[:, :-1], x_BR.T).view(num_strengths, -1, len(x_BR))
            loss_KB, p_KCB = _losses(logits_KCB, targets_B, judged_CB)
            value_K += loss_KB.sum(dim=1, dtype=torch.float64)
            spread_KC += p_KCB.sum(dim=2) - torch.linalg.vector_norm(p_KCB, dim=2).square()
            rest_KCB = _minus_targets(p_KCB, targets_B)
            gradient_KCP[..., :-1] += (rest_KCB.flatten(0, 1) @ x_BR).view_as(gradient_KCP[..., :-1])
            gradient_KCP[..., -1] += rest_KCB.sum(dim=2)
        penalty_KCP = self.strength_K[:, None, None] * self.penalised_P
        value_K += (penalty_KCP * parameters_KCP.square()).sum(dim=(1, 2)) / 2
        gradient_KCP += penalty_KCP * parameters_KCP
        curvature_KCP = spread_KC[..., None] / self.num_items * self.scale_P + penalty_KCP
        return value_K, gradient_KCP.flatten(1), curvature_KCP.flatten(1)


def _losses(logits_KCB: Tensor, targets_B: Tensor, judged_CB: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the loss of each item (K, B) and the probabilities (K, C, B): the target where nothing is judged."""
    if targets_B.ndim == 1:
        log_p_KCB = logits_KCB.log_softmax(dim=1)
        return -log_p_KCB.gather(1, _places(targets_B, logits_KCB))[:, 0], log_p_KCB.exp_()
    loss_KCB, p_KCB = functional.softplus(logits_KCB) - targets_B * logits_KCB, logits_KCB.sigmoid()
    if judged_CB is not None:
        loss_KCB, p_KCB = loss_KCB * judged_CB, torch.where(judged_CB, p_KCB, targets_B)
    return loss_KCB.sum(dim=1), p_KCB


def _minus_targets(p_KCB: Tensor, targets_B: Tensor) -> Tensor:
    """Return probabilities less the truth, in place: the loss' derivative by the logits."""
    if targets_B.ndim == 2:
        return p_KCB.sub_(targets_B)
    places_K1B = _places(targets_B, p_KCB)
    return p_KCB.scatter_add_(1, places_K1B, p_KCB.new_full((), -1.0).expand_as(places_K1B))


def _places(targets_B: Tensor, like_KCB: Tensor) -> Tensor:
    """Return the class of each item as an index, (K, 1, B)."""
    return targets_B[None, None].expand(len(like_KCB), 1, -1)
