from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.objectives.contrastive import Contrastive, contrastive_loss
from trainer.objectives.objective import Losses
from trainer.objectives.sigmoid import Sigmoid, sigmoid_loss
from trainer.parallel.ranks import ALONE

KINDS = ("contrastive", "sigmoid")
EPSILON = torch.finfo(torch.float32).eps


def unit_rows(seed: int, rows: int = 6, columns: int = 5) -> Tensor:
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(values, dim=1)


def loss_of(
    kind: str, image: Tensor, text: Tensor, scale: float, block_rows: int = 4_096
) -> tuple[Losses, list[Tensor]]:
    """Return the losses and the gradients of images, texts, scale, and (sigmoid) bias; the bias is -3."""
    inputs = [image.clone(), text.clone(), torch.tensor(scale), torch.tensor(-3.0)]
    for one in inputs:
        one.requires_grad_()
    if kind == "contrastive":
        losses = contrastive_loss(*inputs[:3], block_rows=block_rows)
    else:
        losses = sigmoid_loss((inputs[0], inputs[1]), inputs[2], inputs[3], block_rows=block_rows)
    return losses, list(torch.autograd.grad(losses.loss, inputs[: 3 if kind == "contrastive" else 4]))


def exact(kind: str, image: Tensor, text: Tensor, scale: float) -> tuple[Tensor, list[Tensor]]:
    """Return loss and gradients of the whole matrix in double precision, by autograd."""
    inputs = [one.double().requires_grad_() for one in (image, text, torch.tensor(scale), torch.tensor(-3.0))]
    logits = inputs[2] * inputs[0] @ inputs[1].T
    if kind == "contrastive":
        target = torch.arange(len(image))
        loss = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        return loss, list(torch.autograd.grad(loss, inputs[:3]))
    loss = -functional.logsigmoid((2 * torch.eye(len(image)) - 1) * (logits + inputs[3])).sum() / len(image)
    return loss, list(torch.autograd.grad(loss, inputs))


def naive_loss(image: Tensor, text: Tensor, scale: float) -> float:
    """The paper's Figure 3, number by number."""
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for row in range(len(one)):
            logits = [scale * float(one[row].double() @ other[column].double()) for column in range(len(other))]
            total += math.log(sum(math.exp(logit - logits[row]) for logit in logits)) / len(one)
    return total / 2


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_loss_equals_the_naive_sum(scale: float) -> None:
    """The loss is the mean of the two cross-entropies, computed term by term."""
    image, text = unit_rows(0), unit_rows(1)
    loss = contrastive_loss(image, text, torch.tensor(scale)).loss
    assert float(loss) == pytest.approx(naive_loss(image, text, scale), rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.integers(1, 40),
    columns=st.integers(1, 16),
    block_rows=st.integers(1, 50),
    scale=st.floats(0.5, 100, width=32),
    seed=st.integers(0, 1000),
)
def test_blocks_give_what_the_whole_matrix_gives(
    kind: str, rows: int, columns: int, block_rows: int, scale: float, seed: int
) -> None:
    """Loss and every gradient, for any number of rows in a block, to fp32's last bits beside double precision."""
    image, text = unit_rows(seed, rows, columns), unit_rows(seed + 5_000, rows, columns)
    losses, gradients = loss_of(kind, image, text, scale, block_rows)
    loss, wanted = exact(kind, image, text, scale)
    # a logit is off by some bits of the scale, and so are the loss and the weights of the gradients
    assert float(losses.loss.detach()) == pytest.approx(float(loss.detach()), rel=1e-5, abs=10 * EPSILON * scale)
    for found, one in zip(gradients, wanted, strict=True):
        size = float(one.abs().max()) + scale / rows
        assert float((found - one).abs().max()) < 20 * EPSILON * (1 + scale) * size
    logits = image.double() @ text.double().T
    assert abs(int(losses.num_hits) - int((logits.argmax(1) == torch.arange(rows)).sum())) <= (columns == 1) * rows


@pytest.mark.parametrize("gap", [4.0, 8.0, 14.0])
def test_a_loss_near_zero_keeps_its_digits(gap: float) -> None:
    """Orthogonal pairs: ln(1 + (N - 1) e^-scale), where the log-sum of fp32 logits would give a multiple of 1e-6."""
    eye = torch.eye(8)
    loss = float(contrastive_loss(eye, eye, torch.tensor(gap)).loss)
    assert loss == pytest.approx(math.log1p(7 * math.exp(-gap)), rel=0.02, abs=EPSILON)


def test_loss_is_symmetric_and_lowest_for_the_right_pairs() -> None:
    """Exchanging the sides changes nothing; equal pairs beat shuffled ones."""
    image, text, scale = unit_rows(0), unit_rows(1), torch.tensor(10.0)
    one, other = contrastive_loss(image, text, scale), contrastive_loss(text, image, scale)
    assert float(one.loss) == pytest.approx(float(other.loss))
    assert contrastive_loss(image, image, scale).loss < contrastive_loss(image, image.roll(1, 0), scale).loss


@contextmanager
def matrix_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_fp32_whatever_is_set_outside(kind: str) -> None:
    """At scale 100 a logit in bf16 is off by up to 0.26: autocast and fast products leave no bit of it changed."""
    image, text = unit_rows(0, 33, 64), unit_rows(1, 33, 64)
    wanted, gradients = loss_of(kind, image, text, 100.0)
    with matrix_precision("medium"), torch.autocast("cpu", torch.bfloat16):
        losses, others = loss_of(kind, image, text, 100.0)
        assert torch.get_float32_matmul_precision() == "medium"
    assert losses.loss.dtype == torch.float32
    assert torch.equal(losses.loss, wanted.loss)
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))
    halves = loss_of(kind, image.bfloat16().float(), text.bfloat16().float(), 100.0)[0]
    assert abs(float(halves.loss.detach()) - float(wanted.loss.detach())) > 1e-3  # such an error would be seen


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(made) if isinstance(one, Tensor)]
        self.elements = max([self.elements, *sizes])
        return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_is_never_there_as_a_whole(kind: str) -> None:
    """Of 64 x 64 similarities at most 8 rows exist at a time, forth and back."""
    with Largest() as largest:
        loss_of(kind, unit_rows(0, 64, 4), unit_rows(1, 64, 4), 10.0, block_rows=8)
    assert largest.elements == 8 * 64


def test_hits_are_images_whose_own_text_is_the_likeliest() -> None:
    """Three of four pairs are right; one image has another's text."""
    eye = torch.eye(4)
    text = torch.stack([eye[0], eye[1], eye[2], eye[0]])
    assert float(contrastive_loss(eye, text, torch.tensor(10.0), block_rows=3).num_hits) == 3
    assert float(sigmoid_loss((eye, text), torch.tensor(10.0), torch.tensor(-5.0), block_rows=3).num_hits) == 3


@pytest.mark.parametrize(("before", "after"), [(7.0, math.log(100)), (-1.0, 0.0), (2.5, 2.5)])
def test_the_contrastive_scale_is_clipped_to_1_and_100(before: float, after: float) -> None:
    """The learned scale stays within [1, 100]; SigLIP's is left alone."""
    model: Any = SimpleNamespace(logit_scale=torch.nn.Parameter(torch.tensor(before)))
    Sigmoid(8).constrain(model)
    assert float(model.logit_scale.detach()) == before
    Contrastive(8).constrain(model)
    assert float(model.logit_scale.detach()) == pytest.approx(after)


def test_the_sigmoid_loss_begins_as_siglip_says() -> None:
    """At scale 10 and bias -10 a cell that is no pair costs next to nothing, and a pair about 10 minus its cosine's."""
    image, text = unit_rows(0, 16, 64), unit_rows(1, 16, 64)
    model: Any = SimpleNamespace(logit_scale=torch.tensor(math.log(10)), logit_bias=torch.tensor(-10.0))
    losses = Sigmoid(8).loss((image, text), model, ALONE, 16)
    pairs = functional.softplus(10 - 10 * (image * text).sum(1)).mean()
    assert float(losses.loss) == pytest.approx(float(pairs), rel=0.01)
