"""Zero-shot evaluation while training: as `wit evaluate` does, by all ranks, with averaged weights if there are any."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from trainer.evaluation.evaluating import evaluate_zero_shot
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.printing import unreadable
from trainer.evaluation.problems import Wording, Words, read_words, require_fit
from trainer.evaluation.sets import OpenSet, open_sets, require_labels
from trainer.parallel.ranks import Ranks
from trainer.recipe import Evaluation
from trainer.saving.trained import Trained
from trainer.tokenizer import ClipTokenizer

EVENT = "evaluation"
"""Of the lines in the log."""


@dataclass(frozen=True)
class PeriodicEvaluation:
    """What is evaluated, and when."""

    sets: tuple[tuple[OpenSet, Words], ...]
    every_steps: int
    """0: after the last step only."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Return whether it is time for it when `step` steps have been taken."""
        return step == num_steps or bool(step and self.every_steps and step % self.every_steps == 0)

    def event(self, opened: OpenSet) -> str:
        """Return the event of the lines in the log on a set: EVENT, and its name where it has been given one."""
        return f"{EVENT}/{opened.name}" if opened.is_named or len(self.sets) > 1 else EVENT

    def measure(
        self, trained: Trained, tokenizer: ClipTokenizer, opened: OpenSet, words: Words, ranks: Ranks
    ) -> dict[str, object]:
        """Return the numbers of a set for the log; every rank must call it, and gets the same."""
        ema, model = trained.ema, trained.model
        with ema.swapped() if ema is not None else nullcontext():  # a run of days does not end for one broken image
            outcome = evaluate_zero_shot(model, tokenizer, opened, words, ranks, skips_broken=True)  # type: ignore[arg-type]
        return _numbers(outcome) | {"weights": "trained" if ema is None else "averaged"}


def _numbers(outcome: Outcome) -> dict[str, object]:
    metric, is_accuracy = outcome.problem.metric, outcome.problem.metric == "accuracy"
    low, high = outcome.interval if is_accuracy else outcome.accuracy_interval  # the first of folds the mean, too
    own: dict[str, object] = {} if is_accuracy else {metric: outcome.value}
    own |= {"rejected": outcome.details["rejected"]} if outcome.details["rejected"] else {}
    return {
        "accuracy": outcome.value if is_accuracy else outcome.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "top5_accuracy": outcome.top_k(5),
        "chance": 1 / outcome.problem.num_classes,
        "num_images": len(outcome.items),
        **own,
    }


def line_of(numbers: Mapping[str, Any], metric: str) -> str:
    """Return numbers of `measure`, by the metric of their set, in a line."""
    own = f"  {metric} {numbers[metric]:.1%}" if metric != "accuracy" else ""
    left_out = f"; {unreadable(numbers['rejected'])}" if "rejected" in numbers else ""
    return (
        f"zero-shot accuracy {numbers['accuracy']:.1%}  top-5 {numbers['top5_accuracy']:.1%}{own}  "
        f"chance {numbers['chance']:.1%}{left_out}"
    )


def open_evaluation(options: Evaluation) -> PeriodicEvaluation | None:
    """Return what a recipe asks for, if anything.

    Raises InputError when its images, templates or names are not there, UserError for two sets of one name.
    """
    wording = Wording(options.classes, options.templates, options.by_order)
    sets = open_sets("evaluation.data", options.data)
    words = [read_words(one.name, wording) for one in sets]
    for one, own in zip(sets, words, strict=True):
        require_labels(one)
        require_fit(own, one.listing.classes, one.has_several)
    return PeriodicEvaluation(tuple(zip(sets, words, strict=True)), options.every_steps) if sets else None
