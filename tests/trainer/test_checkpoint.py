from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import pytest
import torch

from tests.trainer.test_step import batch
from trainer import checkpoint
from trainer.checkpoint import MODEL, OPTIMISER, STATE, TrainState
from trainer.loader.order import LoaderState
from trainer.models.clip import Clip, build_clip
from trainer.models.config import CONFIGS
from trainer.optim import build_optimiser
from trainer.recipe import Optimiser
from trainer.step import train_step
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError

MICRO = CONFIGS["ViT-micro/16"]
TOKENIZER = ClipTokenizer([(letter, f"{other}</w>") for letter in "abcdefgh" for other in "abcdefghijk"][:86])


def state(step: int) -> TrainState:
    return TrainState(step, LoaderState(epoch=1, batch=step, seed=7, batch_size=16, index_hash="ab" * 32))


def trained(steps: int) -> tuple[Clip, torch.optim.Optimizer]:
    model = build_clip(MICRO, seed=0)
    optimiser = build_optimiser(model, Optimiser())
    for _ in range(steps):
        train_step(model, optimiser, *batch(), "fp32", 1.0)
    return model, optimiser


def save(out: Path, step: int, model: Clip | None = None, optimiser: torch.optim.Optimizer | None = None) -> Path:
    if model is None or optimiser is None:
        model, optimiser = trained(1)
    return Path(checkpoint.save(str(out), model, MICRO, optimiser, TOKENIZER, state(step)))


def test_a_checkpoint_gives_everything_back(tmp_path: Path) -> None:
    """Weights, optimiser, tokenizer, shapes and state come back bit by bit, so the next step is the same."""
    model, optimiser = trained(3)
    folder = str(save(tmp_path, 3, model, optimiser))
    other, other_optimiser = trained(1)
    assert checkpoint.restore(folder, other, other_optimiser) == state(3)
    for one, another in ((model, optimiser), (other, other_optimiser)):
        train_step(one, another, *batch(), "fp32", 1.0)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    loaded, tokenizer = checkpoint.load_model(folder)
    assert tokenizer.merges == TOKENIZER.merges
    assert checkpoint.read_config(folder) == MICRO
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert not any(parameter.is_meta for parameter in loaded.parameters())


@pytest.mark.parametrize("lost", [MODEL, OPTIMISER, STATE])
def test_only_a_whole_checkpoint_counts(tmp_path: Path, lost: str) -> None:
    """A checkpoint without one of its files, or with a shorter one, is passed over for the one before."""
    first, second = save(tmp_path, 9), save(tmp_path, 10)
    assert checkpoint.newest(str(tmp_path)) == str(second)
    if lost == STATE:
        (second / lost).unlink()
    else:
        (second / lost).write_bytes((second / lost).read_bytes()[:-1])
    assert checkpoint.newest(str(tmp_path)) == checkpoint.find(str(tmp_path)) == str(first)


def test_a_write_that_breaks_off_leaves_no_file_under_a_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file is being written when the disk fails: no torn file, and the checkpoint before still counts."""
    first = save(tmp_path, 1)
    model, optimiser = trained(1)
    from wit import storage

    original = storage.Draft.publish
    for survivors in range(4):
        published: list[str] = []

        def failing(draft: storage.Draft, published: list[str] = published, survivors: int = survivors) -> None:
            if len(published) == survivors:
                draft.discard()
                raise KeyboardInterrupt
            published.append(draft.url)
            original(draft)

        monkeypatch.setattr(storage.Draft, "publish", failing)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2, model, optimiser)
        monkeypatch.setattr(storage.Draft, "publish", original)
        assert checkpoint.newest(str(tmp_path)) == str(first)
        assert not list(tmp_path.rglob("*.tmp*"))
    assert checkpoint.newest(str(tmp_path)) == str(first)
    assert save(tmp_path, 2, model, optimiser) == Path(checkpoint.newest(str(tmp_path)) or "")


def test_old_checkpoints_go(tmp_path: Path) -> None:
    """Only the newest are kept, by number and not by name; what kills left of others goes as well."""
    folders = [save(tmp_path, step) for step in (5, 6, 7, 99_999_999, 100_000_000)]
    (folders[1] / STATE).unlink()
    (folders[2] / MODEL).unlink()
    checkpoint.keep_newest(str(tmp_path), 2)
    assert checkpoint.complete_folders(str(tmp_path)) == [str(folder) for folder in folders[3:]]
    assert sorted(folders[0].parent.iterdir()) == sorted(folders[3:])


class _Bomb:
    def __reduce__(self) -> tuple[type[Exception], tuple[str]]:
        return RuntimeError, ("unpickled",)


@pytest.mark.parametrize("saved", [pickle.dumps(_Bomb()), b"", b"\x08\0\0\0\0\0\0\0notjson!"])
def test_nothing_pickled_is_loaded(tmp_path: Path, saved: bytes) -> None:
    """A pickle, or any other file, in place of the tensors is refused in one line and never run."""
    folder = save(tmp_path, 1)
    (folder / MODEL).write_bytes(saved)
    facts = json.loads((folder / STATE).read_text())
    for one in facts["files"]:
        one["bytes"] = len(saved) if one["name"] == MODEL else one["bytes"]
    (folder / STATE).write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"model\.safetensors: expected safetensors"):
        checkpoint.load_model(str(folder))


def test_a_torch_pickle_is_refused_too(tmp_path: Path) -> None:
    """A file of `torch.save` is not read."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    folder = save(tmp_path, 1)
    (folder / MODEL).write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="expected safetensors"):
        checkpoint.load_model(str(folder))


def test_a_folder_without_checkpoint_is_a_users_mistake(tmp_path: Path) -> None:
    """A path that holds no checkpoint is named."""
    with pytest.raises(InputError, match="expected a checkpoint or a training run"):
        checkpoint.find(str(tmp_path / "nothing"))
