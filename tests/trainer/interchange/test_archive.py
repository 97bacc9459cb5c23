from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.interchange.conftest import VIT, module_tree
from trainer.interchange.archive import is_archive, read_archive
from trainer.interchange.reading import read_weights
from trainer.models.clip import Clip
from wit.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the tests make TorchScript


def test_a_released_archive_is_read(archive: Path, vit: Clip) -> None:
    """An archive of fp16 weights as OpenAI's gives the model in fp32, without the three numbers beside them."""
    weights = read_weights(str(archive))
    state = vit.state_dict()
    assert weights.config == VIT
    assert weights.tensors.keys() == state.keys()
    assert all(torch.equal(value, state[name].half().float()) for name, value in weights.tensors.items())


def test_tensors_are_those_that_torch_reads(archive: Path) -> None:
    """The tensors of an archive, names, types and values, are those that TorchScript's own loader finds."""
    with archive.open("rb") as file:
        assert is_archive(file)
        found = read_archive(file, str(archive))
    wanted = torch.jit.load(str(archive)).state_dict()
    assert found.keys() == wanted.keys()
    assert all(found[name].dtype == one.dtype and torch.equal(found[name], one) for name, one in wanted.items())


def test_views_and_shared_storages_are_kept(tmp_path: Path) -> None:
    """Tensors that are slices or turned views of others are read as what they show."""

    class Views(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(12.0).reshape(3, 4)
            self.register_buffer("whole", whole)
            self.register_buffer("part", whole[1:, 2])
            self.register_buffer("turned", whole.T)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.script(Views()).save(str(tmp_path / "views.pt"))
    with (tmp_path / "views.pt").open("rb") as file:
        found = read_archive(file, "views.pt")
    whole = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(found["whole"], whole)
    assert torch.equal(found["part"], whole[1:, 2])
    assert torch.equal(found["turned"], whole.T)


def test_a_plain_pt_file_is_no_archive(vit: Clip, tmp_path: Path) -> None:
    """What torch.save writes is a zip as well, and not taken for TorchScript."""
    torch.save(vit.state_dict(), tmp_path / "plain.pt")
    with (tmp_path / "plain.pt").open("rb") as file:
        assert not is_archive(file)
        assert file.tell() == 0


class Touch:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file


def global_call(module: str, name: str, arguments: bytes) -> bytes:
    """Return a pickle that calls module.name: PROTO 2, GLOBAL, arguments, REDUCE, STOP."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."


MODULE = b"c__torch__\nM\n)\x81"  # an empty module of the archive's own type
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


def tensor_call(offset: int, size: int) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + bytes(
        [75, offset, 75, size, 0x85, 75, 1, 0x85]
    ) + b"\x89ccollections\nOrderedDict\n)RtR"  # fmt: skip


@pytest.mark.parametrize(
    "pickled",
    [
        global_call("os", "system", b"(X\x04\x00\x00\x00truetR"[:-1]),
        global_call("builtins", "eval", b"(X\x01\x00\x00\x001t"),
        global_call("torch", "load", b"(X\x01\x00\x00\x001t"),
        global_call("torch._utils", "_rebuild_device_tensor_from_numpy", b")"),
        b"\x80\x02K\x03.",
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"\x80\x02" + MODULE + b".",  # a module without a state
        b"\x80\x02" + MODULE + b"q\x00}X\x01\x00\x00\x00ah\x00sb.",  # a module that holds itself
        b"\x80\x02" + MODULE + b"}X\x01\x00\x00\x00a" + tensor_call(0, 5) + b"sb.",  # beyond its storage
        b"\x80\x02" + MODULE + b"}X\x01\x00\x00\x00a" + tensor_call(3, 2) + b"sb.",
        b"\x80\x02)r\xff\xff\xff\x7f.",  # a memo number that would take 16 GB as a table
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",  # a string of 2^56 bytes
        b"",
        b"\x80\x02",
    ],
)
def test_hostile_pickles_are_refused(pickled: bytes) -> None:
    """Names that are no weights, cycles and views beyond their bytes are one error; nothing is called."""
    file = zipped({"a/data.pkl": pickled, "a/constants.pkl": b"", "a/data/0": bytes(16)})
    with pytest.raises(InputError, match=r"^x\.pt: expected a TorchScript archive of a model, found another"):
        read_archive(file, "x.pt")


def test_the_hand_made_pickle_is_right() -> None:
    """The same archive with a view within its bytes is read: the hostile ones fail for what they are."""
    pickled = b"\x80\x02" + MODULE + b"}X\x01\x00\x00\x00a" + tensor_call(1, 2) + b"sb."
    data = torch.arange(4.0).numpy().tobytes()
    found = read_archive(zipped({"a/data.pkl": pickled, "a/constants.pkl": b"", "a/data/0": data}), "x.pt")
    assert found["a"].tolist() == [1, 2]


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    """A pickle that would make a file makes none."""
    pickled = pickle.dumps(Touch(tmp_path / "made"), protocol=2)
    with pytest.raises(InputError, match="which is no part of a model's weights"):
        read_archive(zipped({"a/data.pkl": pickled, "a/constants.pkl": b""}), "x.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: zipped({"a/constants.pkl": b""}),
        lambda: zipped({}),
        lambda: io.BytesIO(b"PK\x05\x06"),
        lambda: zipped(
            {
                "a/data.pkl": b"\x80\x02" + MODULE + b"}X\x01\x00\x00\x00a" + tensor_call(0, 2) + b"sb.",
                "a/data/0": bytes(16),
            },
            zipfile.ZIP_DEFLATED,
        ),
    ],
    ids=["no pickle", "empty", "no zip", "compressed"],
)
def test_archives_of_another_form_are_refused(make: Callable[[], io.BytesIO]) -> None:
    """Without a pickle, or with compressed tensors (which may grow without bound), an archive is an error."""
    with pytest.raises(InputError, match=r"^x\.pt: expected a (TorchScript archive|zip as torch writes)"):
        read_archive(make(), "x.pt")


def test_a_tensor_is_not_larger_than_its_storage() -> None:
    """Four numbers that claim by strides of 0 to be 2^40 take no memory: they are refused."""
    call = tensor_call(0, 2).replace(bytes([75, 2, 0x85, 75, 1]), b"\x8a\x06" + bytes([0] * 5 + [1, 0x85, 75, 0]))
    expanded = MODULE + b"}X\x01\x00\x00\x00a" + call + b"sb."
    with pytest.raises(InputError, match="more numbers than its storage"):
        read_archive(zipped({"a/data.pkl": b"\x80\x02" + expanded, "a/constants.pkl": b"", "a/data/0": bytes(16)}), "x")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_torn_archive_is_an_error_or_other_numbers(archive_bytes: bytes, data: st.DataObject) -> None:
    """However an archive is cut or changed, it is read or refused; there is no other end."""
    place = data.draw(st.integers(0, len(archive_bytes) - 1))
    torn = archive_bytes[:place]
    if data.draw(st.booleans()):
        torn += bytes([archive_bytes[place] ^ data.draw(st.integers(1, 255))]) + archive_bytes[place + 1 :]
    assert is_archive(io.BytesIO(torn)) in (True, False)
    with suppress(InputError):
        read_archive(io.BytesIO(torn), "x.pt")


@pytest.fixture(scope="session")
def archive_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small archive: its pickle is a large share of it."""
    tensors = {f"layer.{number}.weight": torch.randn(2, 3) for number in range(6)}
    path = tmp_path_factory.mktemp("archive") / "small.pt"
    torch.jit.script(module_tree(tensors)).save(str(path))
    return path.read_bytes()
