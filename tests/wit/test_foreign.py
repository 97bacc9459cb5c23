"""Samples of tars made by anyone: the members next to each other that share a stem, and where they lie."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit import foreign, tar
from wit.foreign import caption_in, read_tar, split_name

NAMES = st.sampled_from(
    ["a.jpg", "a.txt", "a.x.jpg", "b.jpg", "b", "d/a.jpg", "d.e/a.jpg", "._a.jpg", ".txt", "é" * 90 + ".png"]
)


def packed(names: list[str], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = number * 100
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


@given(st.lists(NAMES, max_size=12), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_samples_are_runs_of_members(names: list[str], tar_format: int) -> None:
    """All members but hidden ones come in order, a suffix once a sample, and samples do not overlap."""
    data = packed(names, tar_format)
    found = list(read_tar(io.BytesIO(data), "x"))
    assert [member.name for sample in found for member in sample.members] == [
        name for name in names if not name.rpartition("/")[2].startswith(".")
    ]
    end = 0
    for sample in found:
        parts = [split_name(member.name) for member in sample.members]
        assert {stem for stem, _ in parts} == {sample.stem}
        assert len({suffix.lower() for _, suffix in parts}) == len(parts)
        assert end <= sample.start < sample.stop <= len(data)
        end = sample.stop
        again = next(read_tar(io.BytesIO(data), "x", sample.start))
        assert again == sample


def test_a_sample_of_too_many_members_is_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of one stem without end do not fill the memory."""
    monkeypatch.setattr(foreign, "MAX_MEMBERS", 3)
    names = [f"a.{number}" for number in range(7)]
    assert [len(sample.members) for sample in read_tar(io.BytesIO(packed(names)), "x")] == [3, 3, 1]


@pytest.mark.parametrize(
    ("data", "caption"),
    [
        (b'{"caption": "x", "text": "y"}', "x"), (b'{"caption": 7, "TEXT": "y"}', "y"), (b'{"a": "x"}', ""),
        (b"[]", ""), (b"no JSON", ""), (b"\xff", ""), (b"[" * 100_000, ""), (b'{"caption": "\\ud800"}', ""),
    ],
)  # fmt: skip
def test_captions_in_json(data: bytes, caption: str) -> None:
    """The first of the known fields that holds a text; blank for everything else."""
    assert caption_in(data) == caption


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300),
    st.integers(0, 10),
)
def test_long_headers_are_read_back(name: str, length: int) -> None:
    """Any name that a tar can hold comes back."""
    data = tar.long_header(name, length) + bytes(length) + tar.padding(length) + tar.END
    (member,) = tar.members(io.BytesIO(data), "x")
    assert (member.name, member.length, member.start) == (name, length, 0)
