from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.trainer.conftest import micro_recipe
from trainer.interchange.cli import export
from trainer.interchange.reading import read_model
from trainer.saving.checkpoint import find
from trainer.training import train
from wit.errors import MismatchError


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the micro recipe."""
    out = tmp_path_factory.mktemp("export") / "run"
    train(micro_recipe(epochs=1), str(shards), str(out), "cpu")
    return out


@pytest.mark.parametrize("name", ["clip.safetensors", "folder"])
def test_what_is_exported_is_the_model(run: Path, tmp_path: Path, name: str) -> None:
    """The weights read back are the run's, from one file or a folder, which has the run's own vocabulary too."""
    out = tmp_path / name
    result = CliRunner().invoke(export, [str(run), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    ours, theirs = read_model(str(run))[0].state_dict(), read_model(str(out))[0].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    if name == "folder":
        assert (out / "tokenizer.txt").read_bytes() == Path(find(str(run)), "tokenizer.txt").read_bytes()


def test_nothing_is_written_over(run: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "clip.safetensors").write_bytes(b"mine")
    with pytest.raises(MismatchError, match="expected a new file or folder, found one"):
        CliRunner().invoke(export, [str(run), "--out", str(tmp_path / "clip.safetensors")], catch_exceptions=False)
    assert (tmp_path / "clip.safetensors").read_bytes() == b"mine"
