"""Evaluates a checkpoint on sets as a command asks for it: opens them, embeds them, judges, prints and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from trainer.evaluation.asking import Asked, Judged, open_judged
from trainer.evaluation.evaluating import compare_prompts, zero_shot
from trainer.evaluation.features import Features, embed_shown
from trainer.evaluation.fitting import curve_result, few_shot_curve, linear_probe, split_features, split_fold
from trainer.evaluation.keeping import kept_result, key_of, write_result
from trainer.evaluation.outcomes import CONFIDENCE, Outcome
from trainer.evaluation.printing import print_result, print_summary
from trainer.evaluation.probe import Splits
from trainer.evaluation.problems import departures, judged_part, pose, remarks
from trainer.evaluation.sets import OpenSet
from trainer.evaluation.terms import FEW_SHOT, LINEAR_PROBE, ZERO_SHOT
from trainer.models.build import AnyModel
from trainer.models.flops import dense_macs
from trainer.models.identity import fingerprint
from trainer.parallel.agreement import from_first
from trainer.parallel.progress import shared_progress
from trainer.parallel.ranks import Ranks
from trainer.tokenizer import ClipTokenizer, dump_merges
from wit import manifest
from wit.errors import InputError
from wit.storage import join, write_parquet

Results = dict[str, dict[str, Any]]
"""By protocol, as JSON has them."""
Keys = dict[str, str]
"""By protocol: what its result follows from."""


def run(name: str, model: AnyModel, tokenizer: ClipTokenizer, asked: Asked, ranks: Ranks) -> None:
    """Evaluate a model, in evaluation mode on its device, on all sets that are asked for; all ranks must call it.

    Raises UserError, or InputError, for what cannot be evaluated: of several sets when the others are done.
    """
    sets, failures = open_judged(asked)
    total = len(sets) + len(failures)
    if asked.out and ranks.is_first:
        write_checkpoint(asked.out, name, model)
    found: dict[str, Results] = {}
    openable = len(sets)
    for number in range(1, openable + 1):
        one = sets.pop(0)  # what is done goes: the names of ImageNet's files alone are 0.3 GB
        if ranks.is_first and (total > 1 or one.test.is_named):
            click.echo(f"{f'[{number}/{openable}] ' if total > 1 else ''}{one.test.listing.line()}")
        try:
            for result in _Evaluation(model, tokenizer, one, asked, ranks).results():
                own = found.setdefault(one.test.name, {})
                own[result["protocol"]] = result
                print_result(result, own[ZERO_SHOT], with_classes=total == 1)
        except InputError as error:
            if total == 1:
                raise
            failures[one.test.name] = error
            if ranks.is_first:
                click.echo(f"{one.test.name}: {error}", err=True)
    if ranks.is_first and total > 1:
        print_summary(found, failures)
    if failures:
        raise InputError(
            f"{', '.join(failures)}: expected sets that can be evaluated, found {len(failures)} of {total} that cannot "
            f"({next(iter(failures.values()))}); the others are done, and stay so when the same command is given again"
        )


def write_checkpoint(out: str, name: str, model: AnyModel) -> None:
    """Write OUT/checkpoint.json, which says whose results are beside it."""
    facts = {
        "name": name,
        "fingerprint": fingerprint(model),
        "model": asdict(model.config),
        "gflops_per_image": dense_macs(model.config).image / 1e9,  # multiply-adds, as the paper's Figure 9 has them
    }
    manifest.write(join(out, "checkpoint.json"), facts)


@dataclass(frozen=True)
class _Evaluation:
    """Of a model, on a set."""

    model: AnyModel
    tokenizer: ClipTokenizer
    sets: Judged
    asked: Asked
    ranks: Ranks

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the results that are asked for, zero-shot's first, each as it is there; none on ranks but the first.

        Those that are kept are not made again; zero-shot is, from kept features, where a probe has to be fitted. All
        ranks must go through it.
        """
        keys = self._keys()
        kept = self._kept(keys)
        missing = keys.keys() - kept.keys()
        if not missing:
            yield from kept.values() if self.ranks.is_first else ()
            return
        whole, folds = self._embed(self.sets.test), self.sets.test.listing.folds
        train, validation = (
            (whole if each is self.sets.test else self._embed(each)) if each and missing - {ZERO_SHOT} else None
            for each in (self.sets.train, self.sets.validation)
        )
        features = judged_part(whole, folds)
        problem = pose(features, self.sets.words, folds)
        said = {"not_as_the_paper": departures(problem, len(folds)), "remarks": remarks(problem)}
        details: dict[str, Any] = {"data": self.sets.test.text}
        details |= {name: "; ".join(lines) for name, lines in said.items() if lines}
        outcome = zero_shot(self.model, self.tokenizer, features, problem, self.ranks)
        outcome = replace(outcome, details={**outcome.details, **details, **self._compared(outcome, features)})
        if not self.ranks.is_first:
            return
        yield self._finish(outcome.result(), keys, outcome)
        if train is not None:
            splits = split_features(problem, features, train, validation, self.sets.test.name)
            yield from self._fit(outcome, splits, keys, kept, details)
        else:
            yield from (result for protocol, result in kept.items() if protocol != ZERO_SHOT)

    def _fit(
        self, outcome: Outcome, splits: Splits, keys: Keys, kept: Results, details: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yield what the probes that are asked for are worth; `outcome` is zero-shot's."""
        problem, device, value = outcome.problem, next(self.model.parameters()).device.type, None
        folds = self.sets.test.listing.folds
        if LINEAR_PROBE in keys:
            probed = kept.get(LINEAR_PROBE)
            if probed is None:
                probed = self._finish(linear_probe(problem, splits, device, details, folds).result(), keys)
            value = probed["value"]
            yield probed
        if FEW_SHOT in keys and problem.has_several and self.asked.suite is not None:
            click.echo(f"{problem.name}: left out of few-shot, as its images have several classes")
        elif FEW_SHOT in keys:
            few = kept.get(FEW_SHOT)
            if few is None:
                if folds:
                    splits, details = split_fold(splits, folds[0]), details | {"fold": folds[0].name}
                curve = few_shot_curve(problem, splits, self.asked.shots, device, (outcome.value, value))
                few = self._finish(curve_result(outcome, curve, details), keys)
            yield few

    def _keys(self) -> Keys:
        """Return what each result that is asked for follows from; blank where nothing is kept."""
        asked, sets = self.asked, self.sets
        fitted = {"train": sets.train, "validation": sets.validation}
        own: dict[str, tuple[bool, dict[str, Any]]] = {
            ZERO_SHOT: (True, {"compare_prompts": asked.compare_prompts}),
            LINEAR_PROBE: (asked.probe, {}),
            FEW_SHOT: (bool(asked.shots), {"shots": asked.shots, "probe": asked.probe}),
        }
        if not asked.out:
            return {protocol: "" for protocol, (is_asked, _) in own.items() if is_asked}
        common = {
            "checkpoint": fingerprint(self.model),
            "merges": hashlib.sha256(dump_merges(self.tokenizer.merges)).hexdigest(),
            "words": asdict(sets.words),
            "skip_broken": asked.embedding.skips_broken,
            "data": [sets.test.text, sets.test.fingerprint()],
        }
        fits = {split: one.fingerprint() for split, one in fitted.items() if one is not None}
        return {
            protocol: key_of({**common, **more, **({} if protocol == ZERO_SHOT else fits)})
            for protocol, (is_asked, more) in own.items()
            if is_asked
        }

    def _kept(self, keys: Keys) -> Results:
        """Return the results that are there already; zero-shot's of the only set is made again, with all its files."""
        out, task = self.asked.out, self.sets.words.task
        if not out:
            return {}

        def read() -> Results:
            found = {protocol: kept_result(out, task, protocol, key) for protocol, key in keys.items()}
            return {protocol: result for protocol, result in found.items() if result is not None}

        kept = from_first(self.ranks, read)
        if self._is_single:
            kept.pop(ZERO_SHOT, None)
        return kept

    @property
    def _is_single(self) -> bool:
        """Whether it is the only set and has no name: its files are predictions.parquet and result.json too."""
        return len(self.asked.data) == 1 and not self.sets.test.is_named and self.asked.suite is None

    def _embed(self, opened: OpenSet) -> Features:
        return embed_shown(self.model, opened, self.asked.embedding, self.ranks)

    def _compared(self, outcome: Outcome, features: Features) -> dict[str, Any]:
        """Return what prompts are worth, where it is asked for."""
        if not self.asked.compare_prompts:
            return {}
        with shared_progress(self.ranks, "compare prompts", None, "scorings") as advance:
            rows = compare_prompts(self.model, self.tokenizer, features, outcome.problem, self.ranks, advance)
        return {"prompts": rows}

    def _finish(self, result: dict[str, Any], keys: Keys, zero: Outcome | None = None) -> dict[str, Any]:
        """Publish a result where that is asked for, with the predictions of `zero`, and return it."""
        out = self.asked.out
        if out and zero is not None:
            predictions = zero.predictions()
            write_parquet(join(out, "predictions", f"{result['task']}.parquet"), predictions)
            if self._is_single:
                write_parquet(join(out, "predictions.parquet"), predictions)
                manifest.write(join(out, "result.json"), _single(zero))
        if out:
            write_result(out, result, keys[result["protocol"]])
        return result


def _single(outcome: Outcome) -> Mapping[str, Any]:
    """Return what result.json says of the only set."""
    low, high = outcome.accuracy_interval
    rows: Sequence[Mapping[str, Any]] = outcome.by_class()
    return {
        "accuracy": outcome.accuracy,
        "top5_accuracy": outcome.top_k(5),
        "interval": {"low": low, "high": high, "confidence": CONFIDENCE},
        "chance": 1 / outcome.problem.num_classes,
        "num_images": len(outcome.items),
        "num_classes": outcome.problem.num_classes,
        "correct_by_class": {row["class"]: row["num_correct"] for row in rows},
        "images_by_class": {row["class"]: row["num_items"] for row in rows},
    }
