from __future__ import annotations

import io

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.saving.tensorfile import write_tensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def written(tensors: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    write_tensors(file, tensors)
    return file.getvalue()


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__" and name.isprintable()),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=6,
    ),
    st.integers(0, 99),
)
def test_safetensors_reads_what_is_written(shapes: dict[str, tuple[torch.dtype, list[int]]], seed: int) -> None:
    """Names, types, shapes and bits come back, of scalars and of tensors without an element too; in any order."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randint(0, 255, shape, generator=generator, dtype=torch.uint8).to(dtype)
        for name, (dtype, shape) in shapes.items()
    }
    data = written(tensors)
    found = safetensors.torch.load(data)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert data == written(dict(reversed(tensors.items())))


def test_views_are_written_as_they_look() -> None:
    """A transposed tensor, a slice and an expanded one."""
    whole = torch.arange(12.0).view(3, 4)
    tensors = {
        "turned": whole.T,
        "part": whole[1:, ::2],
        "wide": whole[:1].expand(5, 4),
        "grad": whole.requires_grad_(),
    }
    found = safetensors.torch.load(written(tensors))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_the_bytes_are_those_of_safetensors() -> None:
    """One tensor a file: the library writes the same bytes."""
    for tensor in (torch.arange(6).view(2, 3), torch.tensor(1.5), torch.ones(3, dtype=torch.bfloat16)):
        assert written({"a": tensor}) == safetensors.torch.save({"a": tensor})


def test_a_type_that_the_format_has_not_is_a_defect() -> None:
    """Complex numbers are no part of a model here."""
    with pytest.raises(KeyError):
        written({"a": torch.zeros(1, dtype=torch.complex64)})
