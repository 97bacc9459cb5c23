"""What scores the classes of an image, for a model of each objective: classes are prompts, as the paper has them.

A scorer's logits are such that their softmax over the classes are probabilities:

  contrastive, sigmoid  the cosine of the image and the mean of the class's prompts, over the temperature
  bag of words          the mean log-probability of a prompt's words, by which a name of more words is no less likely;
                        the mean over the templates
  captioning            the log-likelihood that the caption is one of the class's prompts, end mark included: by
                        Bayes' rule, with equal classes, the softmax is the probability of the class

The last two are ours: the paper does not say how its baselines were made to name classes (section 2.3, Figure 2).

Shapes: B images of a batch, C classes, P prompts, L length in tokens, V vocabulary, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

Prompts = Sequence[Sequence[str]]
"""C lists, not all of one length: a class may have several names."""


Scorer = Callable[[Tensor], Tensor]
"""From what a model's `read_features` returns of B images to a logit a class, (B, C)."""


def fill_templates(classes: Sequence[str], templates: Sequence[str]) -> Prompts:
    """Return each class's name in each of the templates."""
    return tuple(tuple(template.replace("{label}", name) for template in templates) for name in classes)


@singledispatch
def prompt_scorer(model: nn.Module, tokenizer: ClipTokenizer, prompts: Prompts) -> Scorer:
    """Return what scores classes by their prompts in a model that is in evaluation mode."""
    raise TypeError(f"no way to score classes by a {type(model).__name__}")


@prompt_scorer.register
def _by_cosine(model: Clip, tokenizer: ClipTokenizer, prompts: Prompts) -> Scorer:
    classifier_CD = prompt_means(model, tokenizer, prompts)

    def score(embedding_BD: Tensor) -> Tensor:
        logits_BC: Tensor = model.logit_scale.exp() * embedding_BD @ classifier_CD.T
        return logits_BC

    return score


@prompt_scorer.register
def _by_words(model: WordPredictor, tokenizer: ClipTokenizer, prompts: Prompts) -> Scorer:
    tokens_PL = tokenize_prompts(model, tokenizer, prompts)
    counts_C = torch.tensor([len(own) for own in prompts], device=tokens_PL.device)
    owner_P = torch.arange(len(prompts), device=tokens_PL.device).repeat_interleave(counts_C)
    shares_CV = torch.zeros(len(prompts), tokenizer.vocabulary_size, device=tokens_PL.device)
    shares_PL = word_shares(tokens_PL) / counts_C[owner_P, None]
    shares_CV.index_put_((owner_P[:, None].expand_as(tokens_PL), tokens_PL), shares_PL, accumulate=True)
    return lambda log_p_BV: log_p_BV @ shares_CV.T


@prompt_scorer.register
def _by_likelihood(model: Captioner, tokenizer: ClipTokenizer, prompts: Prompts) -> Scorer:
    tokens_PL = tokenize_prompts(model, tokenizer, prompts)
    own_rows = torch.split(tokens_PL, [len(own) for own in prompts])
    own_prompts = [[row_L[: int(row_L.argmax()) + 1] for row_L in rows] for rows in own_rows]

    def read(prefix_BPW: Tensor, prompt_L: Tensor) -> Tensor:
        return model.log_likelihoods(prefix_BPW, prompt_L.expand(len(prefix_BPW), -1))

    def score(prefix_BPW: Tensor) -> Tensor:
        """Read every prompt beside every image: C * T passes of the language model over the batch."""
        columns = [torch.stack([read(prefix_BPW, one) for one in own]).logsumexp(dim=0) for own in own_prompts]
        return torch.stack(columns, dim=1)

    return score


def tokenize_prompts(model: AnyModel, tokenizer: ClipTokenizer, prompts: Prompts) -> Tensor:
    """Return ids (P, L) of every prompt, class after class, on the model's device; L is that of the longest."""
    flat = [prompt for own in prompts for prompt in own]
    tokens_PL = torch.from_numpy(trim_tokens(tokenizer(flat, model.config.text.context_length)))
    return tokens_PL.to(next(model.parameters()).device)


@torch.no_grad()
def prompt_means(model: Clip, tokenizer: ClipTokenizer, prompts: Prompts) -> Tensor:
    """Return one unit embedding a class, (C, D): the mean of its prompts' unit embeddings, of unit length again."""
    tokens_PL = tokenize_prompts(model, tokenizer, prompts)
    parts = [model.encode_text(one) for one in torch.split(tokens_PL, BATCH_PROMPTS)]
    return nn.functional.normalize(_means(torch.cat(parts), prompts), dim=-1)


def _means(rows_PX: Tensor, prompts: Prompts) -> Tensor:
    """Return the mean of the rows of each class's prompts, (C, X)."""
    return torch.stack([rows.mean(dim=0) for rows in torch.split(rows_PX, [len(own) for own in prompts])])
