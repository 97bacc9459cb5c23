"""The numbers that the paper prints, as far as they could be verified, and how far each is."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from trainer.evaluation.suite.tasks import find_task

CONFIRMED, CONSISTENT, GIVEN = "confirmed", "consistent", "given"
STATUS = {
    CONFIRMED: "found in a second written source",
    CONSISTENT: "recalled, and reproduces differences or averages that the paper prints",
    GIVEN: "as the results file has it, of a model that the paper's table does not have",
}
"""What is known of a published number."""
MARKS = {CONFIRMED: "", CONSISTENT: "≈ ", GIVEN: "† "}
"""What stands before a number."""
PAPER = "arXiv 2103.00020"
TABLES = {"zero_shot": "Table 11", "linear_probe": "Table 10"}
"""Where the paper prints the results of a protocol."""


@dataclass(frozen=True)
class Published:
    """A published result."""

    percent: float
    status: str
    """A key of STATUS."""


def _plain(name: str) -> str:
    """Return a name without what spellings differ in: ViT-L/14@336px and CLIP vit_l_14_336 are the same."""
    letters = "".join(sign for sign in name.casefold() if sign.isalnum())
    return letters.removeprefix("openai").removeprefix("clip").removesuffix("px")


def models(protocol: str) -> tuple[str, ...]:
    """Return the models of the paper's table for a protocol, the smallest first; none where it has no table."""
    return tuple(_tables().get(protocol, {}))


def published(task: str, protocol: str, given: Mapping[str, float]) -> dict[str, Published]:
    """Return the published results of a task by model: the paper's, then those `given` for other models, in percent.

    A number of the paper's own models counts only as it stands in published.toml, so that none that could not be
    verified comes in by another door.
    """
    mine = _tables().get(protocol, {})
    found = {
        model: Published(values[_key(task)], status)
        for model, cells in mine.items()
        for status, values in cells.items()
        if _key(task) in values
    }
    known = {_plain(model) for table in _tables().values() for model in table}
    others = {model: Published(value, GIVEN) for model, value in given.items() if _plain(model) not in known}
    return found | others


def _key(task: str) -> str:
    known = find_task(task)
    return known.name if known else task


@cache
def _tables() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return the table of each protocol: model, status, task, percent."""
    return tomllib.loads(resources.files(__package__).joinpath("published.toml").read_text("utf-8"))
