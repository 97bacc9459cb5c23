"""One run: what it was made from, what is still missing, and the ledger at the end of each stage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pipelines.executors import Executor
from pipelines.executors.parts import SCRATCH, part_name, parts_of, write_rows
from pipelines.ledger import Entry, describe_tables, from_manifest, measure
from pipelines.recipes import STAGES, Recipe
from pipelines.stages.pack import SHARDS
from pipelines.stages.verb import Verb
from pipelines.target import claim, is_finished, refuse_removals, release, require_ours
from wit import manifest
from wit.errors import InputError, OutputError, UserError
from wit.locking import LOCK, locked
from wit.progress import progress
from wit.recipe import dumps, identity
from wit.stage import PlanStage, SqlStage, Step
from wit.storage import (
    exists,
    is_remote,
    join,
    list_names,
    local_path,
    output_error,
    publish_text,
    remove,
    remove_temporaries,
)

IDENTITY = "run.json"
RECIPE = "recipe.toml"
LOG = "log.jsonl"
CODE = "wit and pipelines"
_CLAIM = {IDENTITY, RECIPE, LOCK}
"""What a run holds before its first table."""


@dataclass(frozen=True)
class Request:
    """What a user asks of a run."""

    recipe: Recipe
    root: str
    first: str = STAGES[0]
    """Stage from which everything is made anew."""
    redo: bool = False
    """Whether `first` was asked for: without it, what is finished stays."""
    last: str = STAGES[-1]
    accept_code: bool = False
    """Whether to go on with what other code began."""

    def __post_init__(self) -> None:
        if STAGES.index(self.first) > STAGES.index(self.last):
            raise UserError(f"expected --until at or after --from {self.first}, found --until {self.last}")


def run(request: Request, open_executor: Callable[[], Executor], say: Callable[[str], None]) -> list[Entry]:
    """Bring a run directory to the end of `request.last`; return its ledger.

    Raises MismatchError when the directory was made from another recipe, input or code, OutputError when it is not a
    run or cannot be written, and whatever a stage raises.
    """
    with locked(request.root, "wit run"):
        made_from = _claim(request)
        remove_temporaries(request.root)
        try:
            return _run_stages(request, made_from, open_executor, say)
        finally:
            remove_temporaries(request.root)  # of workers that were killed


def read_ledger(root: str) -> list[Entry]:
    """Return the ledger of the stages that are finished, in order; raises UserError when there is no run."""
    if not exists(join(root, IDENTITY)):
        raise UserError(f"{root}: expected a run directory (with {IDENTITY}), found none; make one with: wit run")
    return [
        from_manifest(stage, manifest.read(path, "ledger")["ledger"])
        for stage in STAGES
        for path in [stage_manifest_path(root, stage)]
        if exists(path)
    ]


def read_recipe(root: str) -> dict[str, dict[str, Any]]:
    """Return the values that a run was made with, by section; of fields that are newer than the run, the defaults.

    Raises InputError when the run's identity holds no recipe.
    """
    path = join(root, IDENTITY)
    found = manifest.read(path, "recipe")["recipe"]
    if not isinstance(found, dict) or not all(isinstance(section, dict) for section in found.values()):
        raise InputError(f"{path}: expected the sections of a recipe, found something else")
    return {name: {**values, **found.get(name, {})} for name, values in identity(Recipe()).items()}


def stage_manifest_path(root: str, stage: str) -> str:
    """Return where a finished stage has its manifest."""
    return join(root, stage, "manifest.json")


def _identity(recipe: Recipe) -> dict[str, Any]:
    """Return what decides a run's bytes: recipe, inputs and code."""
    inputs = {verb.name: manifest.fingerprint_inputs(verb.inputs()) for verb in recipe.verbs()}
    values = identity(recipe)
    return {
        "recipe": json.loads(json.dumps(values)),
        "inputs": {stage: files for stage, files in inputs.items() if files},
        "code": {CODE: manifest.fingerprint_code("wit", "pipelines")},
    }


def _claim(request: Request) -> dict[str, Any]:
    """Make the directory this run's own, or check that it already is; drop what is to be made anew.

    Returns the run's identity.
    """
    root, now = request.root, _identity(request.recipe)
    path = join(root, IDENTITY)
    found = manifest.read(path, "recipe", "inputs", "code") if exists(path) else None
    has_tables = bool(set(list_names(root)) - _CLAIM)  # else an input was at fault before there was any table
    if found is not None:
        before = found
        now["code"] = _code_of_both(before["code"], now["code"], request.accept_code)
        if request.accept_code:
            before["code"] = now["code"]
        if request.redo:
            before = _without_stages(before, now, _from(request.first))
        remedy = "choose another --out, redo what depends on it with --from STAGE, or accept other code (--accept-code)"
        if has_tables:
            manifest.require_same(root, before, now, remedy)
    elif any(name != LOCK for name in list_names(root)):
        raise OutputError(f"{root}: expected a new folder or a wit run, found other files; choose another --out")
    _make_room(request, found if request.redo or not has_tables else None, now)
    manifest.write(path, now)
    if _packs_elsewhere(request):
        claim(request.recipe.pack.out, now)
    publish_text(join(root, RECIPE), dumps(request.recipe))
    return now


def _packs_elsewhere(request: Request) -> bool:
    """Return whether shards are still to be written outside the run's folder."""
    return bool(request.recipe.pack.out) and not exists(stage_manifest_path(request.root, STAGES[-1]))


def _make_room(request: Request, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Drop what is to be made anew, when nothing forbids it. `before`: the identity that `now` replaces, if any."""
    out, owners = request.recipe.pack.out, [each for each in (now, before) if each]
    if out and (request.redo or _packs_elsewhere(request)):
        require_ours(out, request.root, owners)
    if request.redo:
        for folder in filter(None, (join(request.root, SHARDS), out)):
            refuse_removals(folder)
        _drop(request.root, _from(request.first))
    if before is None:
        return
    earlier = str(before["recipe"].get("pack", {}).get("out", ""))
    if out:
        release(out, owners)
    if earlier and earlier != out and not is_finished(earlier):  # a finished set stays; half of one is of no use
        release(earlier, owners)


def _code_of_both(before: dict[str, Any], now: dict[str, Any], accepted: bool) -> dict[str, Any]:
    """Return the present code, and under `earlier` every other that the run was made with and the user accepted."""
    earlier = before.get("earlier", [])
    if accepted and before[CODE] != now[CODE]:
        earlier = [*earlier, before[CODE]]
    return now | ({"earlier": earlier} if earlier else {})


def _from(stage: str) -> tuple[str, ...]:
    return STAGES[STAGES.index(stage) :]


def _without_stages(before: dict[str, Any], now: dict[str, Any], redone: tuple[str, ...]) -> dict[str, Any]:
    """Return `before` with what concerns the stages to be redone taken from `now`."""
    free = {*redone, *({"run"} if STAGES[0] in redone else ())}
    merged = dict(before, code=now["code"])
    for part in ("recipe", "inputs"):
        kept = {name: value for name, value in before[part].items() if name not in free}
        merged[part] = kept | {name: value for name, value in now[part].items() if name in free}
    return merged


def _drop(root: str, stages: tuple[str, ...]) -> None:
    for stage in stages:
        remove(stage_manifest_path(root, stage))  # first, so that a kill on the way leaves the stage unfinished
        remove(join(root, stage))
        remove(join(root, "rejects", stage))
    remove(join(root, SHARDS))


def _run_stages(
    request: Request, made_from: dict[str, Any], open_executor: Callable[[], Executor], say: Callable[[str], None]
) -> list[Entry]:
    executor: Executor | None = None
    entries: list[Entry] = []
    try:
        for verb in request.recipe.verbs():
            path = stage_manifest_path(request.root, verb.name)
            if exists(path):
                entries.append(from_manifest(verb.name, manifest.read(path, "ledger")["ledger"]))
            else:
                executor = executor or open_executor()
                entry = _run_stage(request, verb, executor, entries[-1] if entries else None, say)
                manifest.write(path, _stage_manifest(request.root, entry, made_from))
                entries.append(entry)
            if verb.name == request.last:
                break
    finally:
        if executor is not None:
            executor.close()
    return entries


def _run_stage(
    request: Request, verb: Verb, executor: Executor, previous: Entry | None, say: Callable[[str], None]
) -> Entry:
    started = time.monotonic()
    resumed = bool(list_names(join(request.root, verb.name)))
    for step in verb.steps(request.recipe.run):
        _run_step(request, verb.name, step, executor)
    if verb.name == STAGES[-1]:
        request.recipe.pack.publish_manifest(request.root)
    entry = measure(request.root, verb.name, previous)
    seconds = time.monotonic() - started
    say(f"{verb.name}: {entry.num_in:,} in, {entry.num_out:,} out, {seconds:.1f} s")
    line = {"stage": verb.name, "seconds": round(seconds, 3), "cores": executor.cores, "resumed": resumed}
    _log(request.root, line | entry.as_manifest())
    return entry


def _stage_manifest(root: str, entry: Entry, made_from: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage was made from, what it wrote, and its ledger; no time, so equal runs have equal ones."""
    return {
        "stage": entry.stage,
        "recipe": {name: made_from["recipe"][name] for name in ("run", entry.stage)},
        "inputs": made_from["inputs"].get(entry.stage, {}),
        "code": made_from["code"],
        "tables": describe_tables(root, entry.stage),
        "ledger": entry.as_manifest(),
    }


def _run_step(request: Request, stage: str, step: Step, executor: Executor) -> None:
    root = request.root
    if isinstance(step.stage, SqlStage):
        with progress(f"{stage}: {step.target}", request.recipe.run.num_buckets) as advance:
            executor.sql(step, advance)
    elif not step.sources:
        _run_plan(root, step)
    else:
        (source,) = step.sources.values()
        with progress(f"{stage}: {step.target}", len(parts_of(root, source))) as advance:
            executor.map(step, advance)
        remove(join(root, step.target, SCRATCH))
    if not exists(join(root, IDENTITY)):  # else the next step would take what is left for all there is
        raise OutputError(
            f"{root}: the run's folder went away while it was written to; put it back (or mount it again) and run the "
            "same command again"
        )


def _run_plan(root: str, step: Step) -> None:
    """Write a plan's parts; `plan.json`, published last, says that all are there."""
    marker = join(root, step.target, "plan.json")
    if exists(marker):
        return
    stage = cast(PlanStage, step.stage)
    count = 0
    for count, table in enumerate(stage(root), 1):
        write_rows(join(root, step.target, part_name(count - 1)), stage.writes, table.to_batches())
    manifest.write(marker, {"num_parts": count})


def _log(root: str, line: dict[str, Any]) -> None:
    """Append to the run's log, which alone of all files may differ between two equal runs."""
    if is_remote(root):
        return
    path = join(local_path(root), LOG)
    try:
        with open(path, "a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
    except OSError as error:
        raise output_error(path, error) from error


def check_stage(name: str) -> str:
    """Return `name` if it is a stage; raises UserError that lists them."""
    if name not in STAGES:
        raise UserError(f"expected a stage ({', '.join(STAGES)}), found {name!r}")
    return name
