"""Classes scored by models of each objective."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainer.models.baselines import make_images
from tests.trainer.ranks import run_ranks
from trainer.evaluation.scoring import fill_templates, prompt_scorer
from trainer.models.build import build_model
from trainer.models.captioner import Captioner
from trainer.models.config import CONFIGS
from trainer.models.predictor import WordPredictor
from trainer.tokenizer import ClipTokenizer

TOKENIZER = ClipTokenizer([("t", "h"), ("r", "e")])
CLASSES = ("red", "a very long blue thing", "red red")
TEMPLATES = ("a {label}", "{label}", "one more {label} here")


def make_model(objective: str, text: str = "transformer") -> nn.Module:
    config = CONFIGS["ViT-micro/16"]
    shapes = replace(config.text, vocabulary_size=TOKENIZER.vocabulary_size, context_length=32, kind=text)
    return build_model(replace(config, text=shapes, objective=objective), seed=0).eval()


def score(model: Any, images: torch.Tensor, templates: Sequence[str] = TEMPLATES) -> torch.Tensor:
    """Return logits of CLASSES."""
    scorer = prompt_scorer(model, TOKENIZER, fill_templates(CLASSES, templates))
    return scorer(model.read_features(model.image_features(images)))


def _tokens(prompt: str) -> torch.Tensor:
    return torch.from_numpy(TOKENIZER([prompt], 32))


@torch.no_grad()
def test_words_are_scored_by_their_mean_log_probability() -> None:
    """A class's logit is the mean over templates of the mean over the prompt's distinct tokens, computed one by one."""
    model = make_model("bag_of_words")
    assert isinstance(model, WordPredictor)
    images = make_images(3)
    scores_BC = score(model, images)
    log_p_BV = model.words(model.visual(images)).log_softmax(dim=1)
    for number, name in enumerate(CLASSES):
        each = []
        for template in TEMPLATES:
            distinct = sorted(set(TOKENIZER.encode(template.format(label=name))))
            each.append(log_p_BV[:, distinct].mean(dim=1))
        torch.testing.assert_close(scores_BC[:, number], torch.stack(each).mean(dim=0), rtol=0, atol=1e-5)


@torch.no_grad()
def test_captions_are_scored_by_their_likelihood() -> None:
    """A class's logit is the logarithm of the sum of its prompts' likelihoods, each from the loss of that caption."""
    model = make_model("captioning")
    assert isinstance(model, Captioner)
    images = make_images(3)
    scores_BC = score(model, images)
    for number, name in enumerate(CLASSES):
        each = []
        for template in TEMPLATES:
            prompt = template.format(label=name)
            loss_B, _ = model(images, _tokens(prompt).expand(3, -1))
            each.append(-loss_B * (len(TOKENIZER.encode(prompt)) + 1))  # the end mark is predicted too
        torch.testing.assert_close(scores_BC[:, number], torch.stack(each).logsumexp(dim=0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("objective", "text"),
    [("contrastive", "transformer"), ("sigmoid", "transformer"), ("contrastive", "bag_of_words")],
)
@torch.no_grad()
def test_two_towers_are_scored_by_the_cosine(objective: str, text: str) -> None:
    """The logit of a class with one template is the scaled cosine, whatever the text tower and the pairwise loss."""
    model = make_model(objective, text)
    images = make_images(3)
    scores_BC = score(model, images, ("a {label}",))
    for number, name in enumerate(CLASSES):
        image_BD, text_BD = model(images, _tokens(f"a {name}"))
        expected = model.get_parameter("logit_scale").exp() * (image_BD @ text_BD.T)[:, 0]
        torch.testing.assert_close(scores_BC[:, number], expected, rtol=0, atol=1e-5)


SCORE_IN_SHARDS = """
import sys, torch
from tests.trainer.evaluation.test_scoring import make_model, score
from tests.trainer.models.baselines import make_images
from trainer.parallel.wrapping import prepare
from trainer.parallel.ranks import find_ranks, joined
from trainer.recipe import Run
torch.set_num_threads(1)
device, ranks = torch.device("cpu"), find_ranks()
with joined(ranks, device), torch.no_grad():
    for objective in ("bag_of_words", "captioning", "contrastive"):
        model = make_model(objective)
        prepare(model, Run(parallel="fsdp"), ranks, device)
        print(score(model, make_images(2)).tolist())
"""


@torch.no_grad()
def test_a_model_in_shards_scores_as_a_whole_one() -> None:
    """Under FSDP with two ranks every objective's scores are those of one process, to 1e-4."""
    for said in run_ranks(SCORE_IN_SHARDS, 2, []):
        for line, objective in zip(said.splitlines(), ("bag_of_words", "captioning", "contrastive"), strict=True):
            expected = score(make_model(objective), make_images(2))
            torch.testing.assert_close(torch.tensor(json.loads(line)), expected, rtol=0, atol=1e-4)
