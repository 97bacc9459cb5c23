"""What an audit asks for, and the look at all that it names before anything is hashed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.audit.methods import ByHashes, Method
from pipelines.report.overlap.predictions import Predictions, read_predictions
from pipelines.shardset.making import open_set
from pipelines.stages.thresholds import parse_thresholds
from wit.errors import UserError
from wit.evaluation_sets import EvaluationSet, Listing, list_set, parse_all
from wit.storage import is_folder, is_remote, local_path


@dataclass(frozen=True)
class Audit:
    """What to compare: training shards (folder or pattern of tars) with evaluation sets (each NAME=[FORMAT:]PATH)."""

    shards: str
    sets: tuple[str, ...]
    method: Method = field(default_factory=ByHashes)
    thresholds: tuple[str, ...] = ()
    """Each N, of all sets, or NAME=N: in the unit of the method."""
    turns: str = "none"
    """Of wit.fingerprint.TURN_OPTIONS."""
    trust: bool = True
    """Take the prints in an index whose files have the sizes that the manifest states."""
    predictions: tuple[str, ...] = ()
    """Each NAME=FILE: a model's predictions of the set."""


@dataclass(frozen=True)
class Asked:
    """An audit, and what was found under the names that it gives."""

    audit: Audit
    listings: tuple[Listing, ...]
    thresholds: Mapping[str, float]
    shards: tuple[str, ...]
    predictions: Mapping[str, Predictions]

    @property
    def names(self) -> list[str]:
        """The names of the sets, in order."""
        return [each.set.name for each in self.listings]


def ask(audit: Audit, out: str) -> Asked:
    """Look at all that an audit names; raises UserError for what is not there or not what it should be."""
    shards = open_set(audit.shards)
    sets = parse_all(audit.sets)
    for each in sets:
        _require_outside(out, each)
    names = [each.name for each in sets]
    thresholds = parse_thresholds(audit.thresholds, names, audit.method.threshold, audit.method.most)
    files = _by_set(audit.predictions, names)
    listings = tuple(list_set(each) for each in sets)
    return Asked(audit, listings, thresholds, shards, {name: read_predictions(file) for name, file in files.items()})


def _require_outside(out: str, evaluation_set: EvaluationSet) -> None:
    """Raise UserError for an output that would be read as a part of the set by the next audit."""
    path = evaluation_set.path
    if is_remote(out) or is_remote(path) or not is_folder(path):
        return
    folder, inside = (os.path.realpath(local_path(each)) for each in (path, out))
    if os.path.commonpath([folder, inside]) == folder:
        raise UserError(
            f"--out {out}: expected a folder outside the evaluation set {evaluation_set.name!r}, found one inside "
            f"{path}; choose another"
        )


def _by_set(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return FILE by NAME of texts NAME=FILE; raises UserError for another name, or one that comes twice."""
    files: dict[str, str] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if name in files:
            raise UserError(f"--predictions {text}: expected one file a set, found {files[name]} before; leave one out")
        if not file or name not in names:
            expected = f"NAME=FILE with the name of a set ({', '.join(names)})"
            raise UserError(f"--predictions {text}: expected {expected}, found {name!r}")
        files[name] = file
    return files
