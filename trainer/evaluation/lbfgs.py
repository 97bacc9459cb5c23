"""L-BFGS on several convex functions of as many parameters side by side: each takes its own steps, all share the work.

Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4 and 7.5, from a diagonal curvature that the function
gives anew at each point. A step is taken when it lowers the function enough (Armijo's condition) or, where rounding
hides what is gained, when the slope at its end agrees (the approximate Wolfe condition of Hager and Zhang, SIAM Journal
on Optimization 16 (2005), equation 4.1); else it is shortened.

Shapes: K functions, Q parameters of each.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_ARMIJO = 1e-4
_SHORTEST = 1e-8
"""Of steps: a direction along which none as long as this helps has been spoilt by rounding."""
_NOISE = {"float32": 1e-6, "float64": 1e-13}
"""Of a function's value, relative to it."""
_FLATTEST = 1e-8
"""The least curvature that a parameter is taken to have."""


class Functions(Protocol):
    """K functions that are evaluated together."""

    num_items: int

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values (K,), gradients (K, Q) and diagonal curvatures (K, Q) at parameters (K, Q), in float64."""

    def keep(self, which: Tensor) -> None:
        """Go on with those that `which`, (K,) bool, names."""


class Limits(Protocol):
    """What ends a search; `logistic.Settings` is one."""

    @property
    def tolerance(self) -> float:
        """Of the gradient's length over the number of items."""

    @property
    def max_iterations(self) -> int:
        """Steps that may be tried."""

    @property
    def history(self) -> int:
        """Steps that are remembered."""

    @property
    def precision(self) -> str:
        """float32 or float64."""


@dataclass(frozen=True)
class Minima:
    """Where each function is least."""

    parameters: Tensor
    """(K, Q), float64."""
    num_iterations: tuple[int, ...]
    """Steps that were tried, a pass over the items each."""
    converged: tuple[bool, ...]


@dataclass
class _Points:
    """Where the functions that are not done are, and where each goes next."""

    place_K: Tensor
    at: Tensor
    value_K: Tensor
    gradient: Tensor
    curvature: Tensor
    direction: Tensor
    step_K: Tensor

    def keep(self, which: Tensor) -> None:
        for name, tensor in vars(self).items():
            setattr(self, name, tensor[which])


class _Memory:
    """The latest steps and what they did to the gradient; a step that was not taken is of length 0 and says nothing."""

    def __init__(self, length: int) -> None:
        self.steps: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=length)

    def add(self, step: Tensor, change: Tensor) -> None:
        product_K = (step * change).sum(dim=1)
        is_sound = product_K > 1e-12 * step.norm(dim=1) * change.norm(dim=1)
        self.steps.append((step, change, torch.where(is_sound, 1 / product_K.clamp(min=1e-300), 0.0)))

    def keep(self, which: Tensor) -> None:
        self.steps = deque([(s[which], y[which], rho[which]) for s, y, rho in self.steps], self.steps.maxlen)

    def direction(self, gradient: Tensor, curvature: Tensor) -> Tensor:
        """Return where the functions fall: less their inverse curvature times the gradient."""
        along, weights = gradient.clone(), []
        for step, change, rho_K in reversed(self.steps):
            weight_K1 = (rho_K * (step * along).sum(dim=1))[:, None]
            along -= weight_K1 * change
            weights.append(weight_K1)
        inverse = 1 / curvature.clamp(min=_FLATTEST)
        along *= inverse * self._scales(inverse)
        for (step, change, rho_K), weight_K1 in zip(self.steps, reversed(weights), strict=True):
            along += (weight_K1 - (rho_K * (change * along).sum(dim=1))[:, None]) * step
        return -along

    def _scales(self, inverse: Tensor) -> Tensor:
        """Return, (K, 1), by what the curvature was off along the latest step that was taken."""
        scale_K = torch.ones_like(inverse[:, 0])
        for _, change, rho_K in self.steps:
            found_K = 1 / (rho_K * (change.square() * inverse).sum(dim=1))
            scale_K = torch.where(rho_K > 0, found_K, scale_K)
        return scale_K[:, None]


@torch.no_grad()
def minimise(functions: Functions, start: Tensor, limits: Limits) -> Minima:
    """Return where each function is least, from `start` (K, Q), float64.

    A function is done when its gradient's length over `num_items` is within the tolerance; without, when no step helps
    any more or the iterations are used up.
    """
    found, place_K = start.clone(), torch.arange(len(start), device=start.device)
    converged_K = torch.zeros_like(place_K, dtype=torch.bool)
    taken_K = torch.zeros_like(place_K)
    memory = _Memory(limits.history)
    value_K, gradient, curvature = functions(start)
    direction = memory.direction(gradient, curvature)
    points = _Points(place_K, start, value_K, gradient, curvature, direction, torch.ones_like(value_K))
    for number in range(limits.max_iterations + 1):
        is_still_K = points.gradient.norm(dim=1) <= limits.tolerance * functions.num_items
        is_done_K = is_still_K | (points.step_K < _SHORTEST) | (number == limits.max_iterations)
        if is_done_K.any():
            done = points.place_K[is_done_K]
            found[done], converged_K[done], taken_K[done] = points.at[is_done_K], is_still_K[is_done_K], number
            if is_done_K.all():
                break
            for part in (functions, memory, points):
                part.keep(~is_done_K)
        _advance(functions, points, memory, _NOISE[limits.precision])
    return Minima(found, tuple(taken_K.tolist()), tuple(converged_K.tolist()))


def _advance(functions: Functions, points: _Points, memory: _Memory, noise: float) -> None:
    """Try each function's step; take it and choose the next direction, or shorten it."""
    step = points.step_K[:, None] * points.direction
    value_K, gradient, curvature = functions(points.at + step)
    slope_K = (points.gradient * points.direction).sum(dim=1)
    end_slope_K = (gradient * points.direction).sum(dim=1)
    rise_K = value_K - points.value_K
    is_lower_K = rise_K <= _ARMIJO * points.step_K * slope_K
    is_level_K = (rise_K <= noise * points.value_K.abs()) & (end_slope_K <= -0.8 * slope_K)
    is_good_K1 = (is_lower_K | is_level_K)[:, None]
    memory.add(step * is_good_K1, (gradient - points.gradient) * is_good_K1)
    points.at = points.at + step * is_good_K1
    points.value_K = torch.where(is_good_K1[:, 0], value_K, points.value_K)
    points.gradient = torch.where(is_good_K1, gradient, points.gradient)
    points.curvature = torch.where(is_good_K1, curvature, points.curvature)
    next_direction = memory.direction(points.gradient, points.curvature)
    points.direction = torch.where(is_good_K1, next_direction, points.direction)
    # The least of the parabola through both values and the first slope, within 0.1 to 0.5 of the step.
    parabola_K = -slope_K * points.step_K / (2 * (rise_K - slope_K * points.step_K))
    shorter_K = points.step_K * parabola_K.nan_to_num(0.1).clamp(0.1, 0.5)
    points.step_K = torch.where(is_good_K1[:, 0], torch.ones_like(shorter_K), shorter_K)
