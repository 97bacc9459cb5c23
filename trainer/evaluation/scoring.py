"""What scores the classes of an image, for a model of each objective: classes are prompts, as the paper has them.

A scorer's logits are such that their softmax over the classes are probabilities:

  contrastive, sigmoid  the cosine of the image and the mean of the class's prompts, over the temperature
  bag of words          the mean log-probability of a prompt's words, by which a name of more words is no less likely;
                        the mean over the templates
  captioning            the log-likelihood that the caption is one of the class's prompts, end mark included: by
                        Bayes' rule, with equal classes, the softmax is the probability of the class

The last two are ours: the paper does not say how its baselines were made to name classes (section 2.3, Figure 2).

Shapes: B images of a batch, S their side in px, C classes, T templates, L length in tokens, V vocabulary, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn

from trainer.models.build import AnyModel
from trainer.models.captioner import Captioner
from trainer.models.clip import Clip
from trainer.models.inputs import trim_tokens
from trainer.models.predictor import WordPredictor, word_shares
from trainer.tokenizer import ClipTokenizer

BATCH_PROMPTS = 256


@dataclass(frozen=True)
class Scorer:
    """Scores classes, in two steps, of which the first can be taken once for any number of prompts."""

    encode: Callable[[Tensor], Tensor]
    """From normalised images (B, 3, S, S) to what `score` reads: what the model's `read_tower` returns."""
    score: Callable[[Tensor], Tensor]
    """From that to a logit a class, (B, C)."""

    def __call__(self, images_B3SS: Tensor) -> Tensor:
        """Return a logit a class, (B, C), of normalised images."""
        return self.score(self.encode(images_B3SS))


@singledispatch
def class_scorer(
    model: nn.Module, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Scorer:
    """Return what scores classes by their names in a model that is in evaluation mode."""
    raise TypeError(f"no way to score classes by a {type(model).__name__}")


@class_scorer.register
def _by_cosine(model: Clip, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]) -> Scorer:
    classifier_CD = build_classifier(model, tokenizer, classes, templates)

    def score(embedding_BD: Tensor) -> Tensor:
        logits_BC: Tensor = model.logit_scale.exp() * embedding_BD @ classifier_CD.T
        return logits_BC

    return Scorer(model.encode_image, score)


@class_scorer.register
def _by_words(
    model: WordPredictor, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Scorer:
    tokens_CTL = tokenize_prompts(model, tokenizer, classes, templates)
    shares_CTL = word_shares(tokens_CTL.flatten(0, 1)).view(tokens_CTL.shape) / len(templates)
    shares_CV = torch.zeros(len(classes), tokenizer.vocabulary_size, device=tokens_CTL.device)
    shares_CV.scatter_add_(1, tokens_CTL.flatten(1), shares_CTL.flatten(1))
    return Scorer(model.predict_words, lambda log_p_BV: log_p_BV @ shares_CV.T)


@class_scorer.register
def _by_likelihood(
    model: Captioner, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Scorer:
    tokens_CTL = tokenize_prompts(model, tokenizer, classes, templates)
    prompts = [[row_L[: int(row_L.argmax()) + 1] for row_L in tokens_TL] for tokens_TL in tokens_CTL]

    def read(prefix_BPW: Tensor, prompt_L: Tensor) -> Tensor:
        return model.log_likelihoods(prefix_BPW, prompt_L.expand(len(prefix_BPW), -1))

    def score(prefix_BPW: Tensor) -> Tensor:
        """Read every prompt beside every image: C * T passes of the language model over the batch."""
        columns = [torch.stack([read(prefix_BPW, one) for one in own]).logsumexp(dim=0) for own in prompts]
        return torch.stack(columns, dim=1)

    return Scorer(model.encode_prefix, score)


def tokenize_prompts(
    model: AnyModel, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Return ids (C, T, L) of every class in every template, on the model's device; L is that of the longest."""
    prompts = [template.replace("{label}", name) for name in classes for template in templates]
    tokens = trim_tokens(tokenizer(prompts, model.config.text.context_length))
    tokens_CTL = torch.from_numpy(tokens).view(len(classes), len(templates), -1)
    return tokens_CTL.to(next(model.parameters()).device)


@torch.no_grad()
def build_classifier(model: Clip, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one unit embedding a class, (C, D): the mean of its T prompts' unit embeddings, of unit length again."""
    tokens_CTL = tokenize_prompts(model, tokenizer, classes, templates)
    parts = [model.encode_text(one) for one in torch.split(tokens_CTL.flatten(0, 1), BATCH_PROMPTS)]
    prompt_CTD = torch.cat(parts).view(len(classes), len(templates), -1)
    return nn.functional.normalize(prompt_CTD.mean(dim=1), dim=-1)
