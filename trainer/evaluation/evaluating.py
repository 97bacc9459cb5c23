"""A checkpoint's evaluation on a set, by the protocols that are asked for; its images are embedded once for all.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.features import Embedding, Features, embed_set
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.problems import Problem, Words, judged_part, pose
from trainer.evaluation.scoring import Prompts, Scorer, prompt_scorer
from trainer.evaluation.sets import OpenSet
from trainer.evaluation.templates import TEMPLATES
from trainer.evaluation.terms import ZERO_SHOT
from trainer.models.build import AnyModel
from trainer.parallel.ranks import ALONE, Ranks, sum_over
from trainer.tokenizer import ClipTokenizer

BATCH_ITEMS = 256  # of a captioner, that reads a prompt beside each: 0.6 GB of logits at 12 tokens
BARE = ("{label}",)
"""The template of a class name alone."""


@torch.no_grad()
def score_prompts(
    model: AnyModel, tokenizer: ClipTokenizer, features: Features, prompts: Prompts, ranks: Ranks = ALONE
) -> NDArray[np.float32]:
    """Return logits (N, C) of the classes that prompts tell, as `score_features`."""
    return score_features(model, prompt_scorer(model, tokenizer, prompts), features, ranks)


@torch.no_grad()
def score_features(model: AnyModel, score: Scorer, features: Features, ranks: Ranks = ALONE) -> NDArray[np.float32]:
    """Return the logits (N, C) that a scorer of the model gives; the model is in evaluation mode, on its device.

    All ranks must call it, and get the same: each scores its share, and calls the model as often as any other.
    """
    device = next(model.parameters()).device
    num_items = len(features.items)
    share = -(-num_items // ranks.size)
    own = range(ranks.rank * share, (ranks.rank + 1) * share)
    parts = []
    for start in range(own.start, own.stop, BATCH_ITEMS):
        rows = np.arange(start, min(start + BATCH_ITEMS, own.stop))
        # Rows beyond the last stand for the last again: no rank calls the model less often than another.
        part_BW = torch.from_numpy(features.features[rows.clip(max=num_items - 1)])
        parts.append(score(model.read_features(part_BW.to(device))).float().cpu())
    scores_NC = torch.cat(parts)
    if ranks.size > 1:
        whole_NC = torch.zeros(share * ranks.size, scores_NC.shape[1], device=device)
        whole_NC[own.start : own.stop] = scores_NC.to(device)
        scores_NC = sum_over(ranks, whole_NC)[:num_items].cpu()
    found: NDArray[np.float32] = scores_NC.numpy()
    return found


def zero_shot(model: AnyModel, tokenizer: ClipTokenizer, features: Features, problem: Problem, ranks: Ranks) -> Outcome:
    """Return what prompts alone recognise (paper, section 3.1); all ranks must call it, and get the same."""
    scores = score_prompts(model, tokenizer, features, problem.prompts(), ranks)
    own = {"rejected": features.rejected, "templates": list(problem.templates)}
    return Outcome(problem, ZERO_SHOT, features.items, scores, own)


def evaluate_zero_shot(
    model: AnyModel,
    tokenizer: ClipTokenizer,
    opened: OpenSet,
    words: Words,
    ranks: Ranks = ALONE,
    skips_broken: bool = False,
) -> Outcome:
    """Return what prompts alone recognise in a set of images, which are embedded for it; as `embed_set`.

    The model stays on its device; it is in training mode after the call if it was before.
    """
    was_training = model.training
    model.eval()
    try:
        folds = opened.listing.folds
        features = judged_part(embed_set(model, opened, Embedding(skips_broken=skips_broken), ranks), folds)
        return zero_shot(model, tokenizer, features, pose(features, words, folds), ranks)
    finally:
        model.train(was_training)


def compare_prompts(
    model: AnyModel,
    tokenizer: ClipTokenizer,
    features: Features,
    problem: Problem,
    ranks: Ranks = ALONE,
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return what prompts are worth, as the paper's Figure 4 asks: rows of {"prompts", "num_templates", "value"}.

    The class name alone, the paper's default prompt (section 3.1.4), each of the problem's templates by itself in the
    mean, the best of them, and all of them averaged as embeddings. The best is found on these very images, so that it
    is no fair score: it says what a lucky choice would give.
    """

    def value(templates: Sequence[str]) -> float:
        advance(1)
        return problem.value(score_prompts(model, tokenizer, features, problem.prompts(templates), ranks))

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
