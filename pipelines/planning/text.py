"""Plans as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.planning.assumptions import Assumptions, rows
from pipelines.planning.model import Cost, Plan

_UNITS = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MANY = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def format_plan(title: str, plan: Plan) -> str:
    """Return a plan as a title, a table of stages and what they add up to."""
    header = ("stage", "rows in", "rows out", "core-hours", "read", "on disk")
    lines = [header, *map(_row, plan.costs), _sum(plan)]
    dollars = sum(plan.dollars.values())
    parts = ", ".join(f"{name} ${value:,.0f}" for name, value in plan.dollars.items())
    return "\n".join(
        [
            f"{title}: {plan.num_packed:,.0f} pairs packed from {plan.crawls:,.2f} crawls",
            "",
            *_align(lines),
            "",
            f"requests    {_count(plan.num_requests)}, {plan.requests_a_host:,.0f} a host on average, "
            f"{_count(plan.requests_busiest_host)} to the busiest",
            f"time        {plan.days:,.1f} days: cores {plan.days_of_cores:,.1f}, network {plan.days_of_network:,.1f}, "
            f"busiest host {plan.days_busiest_host:,.1f}",
            f"money       ${dollars:,.0f}: {parts}",
        ]
    )


def format_assumptions(assumptions: Assumptions, measured: frozenset[str], run: str | None) -> str:
    """Return every assumption with its unit and source, a line each."""
    lines = [("assumption", "value", "unit", "what it is", "source")]
    for name, value, unit, about, source in rows(assumptions):
        lines.append((name, f"{value:,.6g}", unit, about, f"measured in {run}" if name in measured else source))
    return "\n".join(_align(lines, left=(0, 2, 3, 4)))


def _row(cost: Cost) -> tuple[str, ...]:
    return (
        cost.stage,
        _count(cost.num_in),
        _count(cost.num_out),
        f"{cost.core_hours:,.1f}",
        _bytes(cost.read_bytes),
        _bytes(cost.disk_bytes),
    )


def _sum(plan: Plan) -> tuple[str, ...]:
    return (
        "all",
        "",
        "",
        f"{sum(cost.core_hours for cost in plan.costs):,.1f}",
        _bytes(sum(cost.read_bytes for cost in plan.costs)),
        _bytes(sum(cost.disk_bytes for cost in plan.costs)),
    )


def _count(number: float) -> str:
    return _scaled(number, _MANY) or f"{number:,.0f}"


def _bytes(number: float) -> str:
    return _scaled(number, _UNITS) or (f"{number:,.0f} B" if number else "")


def _scaled(number: float, units: Sequence[tuple[float, str]]) -> str:
    for size, unit in units:
        if number >= size:
            return f"{number / size:,.1f}{unit if unit.startswith(' ') else f' {unit}'}"
    return ""


def _align(lines: Sequence[tuple[str, ...]], left: tuple[int, ...] = (0,)) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
