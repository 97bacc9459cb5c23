"""Zero-shot accuracy while training: by all ranks together, with the averaged weights where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from trainer.evaluation.templates import read_templates
from trainer.evaluation.zero_shot import ImageFolder, evaluate_zero_shot, read_image_folder
from trainer.parallel.ranks import Ranks
from trainer.recipe import Evaluation
from trainer.saving.trained import Trained
from trainer.tokenizer import ClipTokenizer

EVENT = "evaluation"
"""Of the lines in the log."""


@dataclass(frozen=True)
class PeriodicEvaluation:
    """What is evaluated, and when."""

    images: ImageFolder
    templates: Sequence[str]
    every_steps: int
    """0: after the last step only."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Return whether it is time for it when `step` steps have been taken."""
        return step == num_steps or bool(step and self.every_steps and step % self.every_steps == 0)

    def measure(self, trained: Trained, tokenizer: ClipTokenizer, ranks: Ranks) -> dict[str, object]:
        """Return the numbers for the log; every rank must call it, and gets the same."""
        ema = trained.ema
        with ema.swapped() if ema is not None else nullcontext():
            result = evaluate_zero_shot(trained.model, tokenizer, self.images, self.templates, ranks)  # type: ignore[arg-type]
        low, high = result.interval
        return {
            "accuracy": result.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "top5_accuracy": result.top5_accuracy,
            "chance": result.chance,
            "num_images": result.num_images,
            "weights": "trained" if ema is None else "averaged",
        }


def open_evaluation(options: Evaluation) -> PeriodicEvaluation | None:
    """Return what a recipe asks for, if anything; raises InputError when its images or templates are not there."""
    if not options.data:
        return None
    return PeriodicEvaluation(read_image_folder(options.data), read_templates(options.templates), options.every_steps)
