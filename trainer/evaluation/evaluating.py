"""A checkpoint's evaluation on a set, by the protocols that are asked for; its images are embedded once for all.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.features import Features
from trainer.evaluation.metrics import METRICS, softmax
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.problems import Problem
from trainer.evaluation.scoring import Prompts, Scorer, prompt_scorer
from trainer.evaluation.templates import TEMPLATES
from trainer.models.build import AnyModel
from trainer.tokenizer import ClipTokenizer

BATCH_ITEMS = 1_024
BARE = ("{label}",)
"""The template of a class name alone."""


@torch.inference_mode()
def score_prompts(
    model: AnyModel, tokenizer: ClipTokenizer, features: Features, prompts: Prompts
) -> NDArray[np.float32]:
    """Return logits (N, C) of the classes that prompts tell; the model is in evaluation mode, on its device."""
    return score_features(model, prompt_scorer(model, tokenizer, prompts), features)


@torch.inference_mode()
def score_features(model: AnyModel, scorer: Scorer, features: Features) -> NDArray[np.float32]:
    """Return the logits (N, C) that a scorer of the model gives, of prompts that are read once for several sets."""
    device = next(model.parameters()).device
    parts = torch.from_numpy(features.towers).split(BATCH_ITEMS)  # type: ignore[no-untyped-call]
    scores = [scorer.score(model.read_tower(part.to(device))).float().cpu() for part in parts]
    found: NDArray[np.float32] = torch.cat(scores).numpy()
    return found


def zero_shot(
    model: AnyModel, tokenizer: ClipTokenizer, features: Features, problem: Problem, details: dict[str, Any]
) -> Outcome:
    """Return what prompts alone recognise (paper, section 3.1)."""
    scores = score_prompts(model, tokenizer, features, problem.prompts())
    own = {"rejected": features.rejected, "templates": list(problem.templates)}
    return Outcome(problem, "zero_shot", features.items, scores, own | details)


def compare_prompts(
    model: AnyModel,
    tokenizer: ClipTokenizer,
    features: Features,
    problem: Problem,
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return what prompts are worth, as the paper's Figure 4 asks: rows of {"prompts", "num_templates", "value"}.

    The class name alone, the paper's default prompt (section 3.1.4), each of the problem's templates by itself in the
    mean, the best of them, and all of them averaged as embeddings. The best is found on these very images, so that it
    is no fair score: it says what a lucky choice would give.
    """
    metric = METRICS[problem.metric]

    def value(templates: Sequence[str]) -> float:
        advance(1)
        return metric(softmax(score_prompts(model, tokenizer, features, problem.prompts(templates))), problem.labels)

    rows = [
        _row("class name", BARE, value(BARE)),
        _row("default prompt", TEMPLATES["photo"], value(TEMPLATES["photo"])),
    ]
    if len(problem.templates) > 1:
        each = [value((template,)) for template in problem.templates]
        best = int(np.argmax(each))
        rows += [
            _row("mean of single templates", problem.templates[:1], float(np.mean(each))),
            _row(f"best single template: {problem.templates[best]}", problem.templates[:1], each[best]),
            _row("ensemble of templates", problem.templates, value(problem.templates)),
        ]
    return rows


def _row(prompts: str, templates: Sequence[str], value: float) -> dict[str, Any]:
    return {"prompts": prompts, "num_templates": len(templates), "value": value}
