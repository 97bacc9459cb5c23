from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.trainer.models.support import LENGTHS, shaken, some_tokens
from trainer.models import transformer
from trainer.models.clip import Clip, build_clip
from trainer.models.config import CONFIGS
from trainer.models.packing import pack

MODEL = shaken(build_clip(CONFIGS["ViT-micro/16"], seed=0))
CONTEXT = CONFIGS["ViT-micro/16"].text.context_length
Lengths = st.lists(st.integers(2, CONTEXT), min_size=1, max_size=6).map(tuple)


@given(Lengths, st.booleans())
def test_every_token_has_its_place(lengths: tuple[int, ...], is_trimmed: bool) -> None:
    """Packing takes the tokens up to each end mark, row after row; unpacking puts each back, zeros elsewhere."""
    tokens = some_tokens(lengths)[:, : max(lengths) if is_trimmed else CONTEXT]
    packing = pack(tokens.numpy())
    packed = packing.pack(tokens)
    assert packed.tolist() == [one for row, length in zip(tokens, lengths, strict=True) for one in row[:length]]
    assert packing.bounds.tolist() == [sum(lengths[:row]) for row in range(len(lengths) + 1)]
    assert packed[packing.last].tolist() == [599] * len(lengths)
    assert packing.positions.tolist() == [place for length in lengths for place in range(length)]
    assert torch.equal(packing.unpack(packed), tokens)


def test_what_stands_after_an_end_mark_is_not_packed() -> None:
    """The first end mark counts, whatever follows it."""
    tokens = some_tokens((3,))
    tokens[0, 5], tokens[0, 6] = 599, 17
    assert pack(tokens.numpy()).places.tolist() == [0, 1, 2]


def text_and_gradients(model: Clip, tokens: Tensor, is_packed: bool) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    text_BD = model.encode_text(tokens, pack(tokens.numpy()) if is_packed else None)
    (text_BD * torch.randn(text_BD.shape, generator=torch.Generator().manual_seed(0))).sum().backward()  # type: ignore[no-untyped-call]
    return text_BD.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@given(Lengths)
def test_packed_captions_have_the_same_embeddings_and_gradients(lengths: tuple[int, ...]) -> None:
    """Without padding the result is the same to 1e-6, and every gradient to 1e-5 of its size."""
    tokens = some_tokens(lengths)
    wanted, wanted_gradients = text_and_gradients(MODEL, tokens, is_packed=False)
    got, gradients = text_and_gradients(MODEL, tokens, is_packed=True)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
    assert gradients.keys() == wanted_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted_gradients[name], atol=1e-5, rtol=1e-5, msg=name)


def plain_varlen(
    q: Tensor, k: Tensor, v: Tensor, q_bounds: Tensor, k_bounds: Tensor, longest_q: int, longest_k: int, **how: Any
) -> Tensor:
    """Attend as the GPU's kernel is documented to: within each pair of rows, the last query beside the last key."""
    rows = []
    for row in range(len(q_bounds) - 1):
        one_q, one_k, one_v = (
            one[bounds[row] : bounds[row + 1]].transpose(0, 1)
            for one, bounds in ((q, q_bounds), (k, k_bounds), (v, k_bounds))
        )
        assert one_q.shape[1] <= longest_q
        assert one_k.shape[1] <= longest_k
        assert how["window_size"] in ((-1, 0), (-1, -1))
        mask = torch.ones(one_q.shape[1], one_k.shape[1], dtype=torch.bool)
        if how["window_size"] == (-1, 0):
            mask = mask.tril(one_k.shape[1] - one_q.shape[1])
        rows.append(functional.scaled_dot_product_attention(one_q, one_k, one_v, attn_mask=mask).transpose(0, 1))
    return torch.cat(rows)


def test_the_kernel_for_rows_of_several_lengths_is_called_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plain kernel in place of the GPU's, embeddings and gradients are again those of padded captions."""
    wanted, wanted_gradients = text_and_gradients(MODEL, some_tokens(), is_packed=False)
    monkeypatch.setattr(transformer, "VARLEN", plain_varlen)
    monkeypatch.setattr(transformer, "_has_kernel", lambda q, packing: True)
    got, gradients = text_and_gradients(MODEL, some_tokens(), is_packed=True)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted_gradients[name], atol=1e-5, rtol=1e-5, msg=name)


def test_a_packing_moves_as_a_whole() -> None:
    """Moved to a device, every tensor is there; main memory has no kernel for packed captions."""
    packing = pack(some_tokens().numpy()).to("cpu")
    assert not packing.has_kernel
    moved = packing.to("meta")
    assert {one.device.type for one in (moved.places, moved.positions, moved.last, moved.bounds)} == {"meta"}
    assert (moved.length, moved.num_captions) == (CONTEXT, len(LENGTHS))


def test_linear_layers_see_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest layer of a packed text tower works on the sum of the lengths, and in the last block on the rows."""
    seen: list[int] = []
    for block in MODEL.transformer.resblocks:
        layer = block.mlp.c_fc
        forward = layer.forward
        monkeypatch.setattr(layer, "forward", lambda x, f=forward: (seen.append(x.shape[:-1].numel()), f(x))[1])
    MODEL.encode_text(some_tokens(), pack(some_tokens().numpy()))
    assert seen == [sum(LENGTHS), len(LENGTHS)]
