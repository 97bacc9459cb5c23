from __future__ import annotations

import io
import json
import pickle
import threading
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest
import torch

from tests.trainer.manners import batch, make
from trainer.interchange.reading import read_model
from trainer.loader.order import LoaderState
from trainer.models.config import CONFIGS
from trainer.optim.ema import Ema
from trainer.recipe import Run
from trainer.saving import checkpoint
from trainer.saving.checkpoint import EMA, MODEL, OPTIMISER, STATE, Saver, Snapshot, TrainState
from trainer.saving.checkpoint import TOKENIZER as TOKENIZER_FILE
from trainer.saving.trained import Trained
from trainer.stepping.gradients import ScalerState
from trainer.stepping.guard import GuardState
from trainer.stepping.step import Stepper, train_step
from trainer.tokenizer import ClipTokenizer, dump_merges
from wit.errors import InputError, OutputError

MICRO = CONFIGS["ViT-micro/16"]
TOKENIZER = ClipTokenizer([(letter, f"{other}</w>") for letter in "abcdefgh" for other in "abcdefghijk"][:86])


def state(step: int) -> TrainState:
    loader = LoaderState(epoch=1, batch=step, seed=7, batch_size=16, index_hash="ab" * 32)
    return TrainState(step, loader, GuardState(0.1, 0.2, 3.0, 4.0, 5.0), ScalerState(1024.0, 7.0), samples=2**63 + step)


def trained(steps: int) -> tuple[Trained, Stepper]:
    model, stepper = make()
    made = Trained(model, stepper.optimiser, Ema(model, 0.9))
    advance(made, stepper, 0, steps)
    return made, stepper


def advance(made: Trained, stepper: Stepper, start: int, steps: int) -> None:
    images, tokens = batch()
    for step in range(start, start + steps):
        numbers = train_step(stepper, images, tokens, step)
        assert made.ema is not None
        made.ema.update(step + 1, numbers.skipped)


def snapshot(made: Trained, step: int) -> Snapshot:
    return Snapshot(state(step), asdict(MICRO), made.gather(), {TOKENIZER_FILE: dump_merges(TOKENIZER.merges)})


def save(out: Path, step: int, made: Trained | None = None) -> Path:
    return Path(checkpoint.write(str(out), snapshot(made or trained(1)[0], step)))


def test_a_checkpoint_gives_everything_back(tmp_path: Path) -> None:
    """Weights, moments, average, tokenizer, shapes and state come back bit by bit, so the next step is the same."""
    (made, stepper), (other, other_stepper) = trained(3), trained(1)
    folder = str(save(tmp_path, 3, made))
    other.restore(folder)
    assert checkpoint.read_state(folder) == state(3)
    advance(made, stepper, 3, 1)
    advance(other, other_stepper, 3, 1)
    left, right = made.gather(), other.gather()
    for name, tensors in left.items():
        assert tensors.keys() == right[name].keys()
        assert all(torch.equal(value, right[name][one]) for one, value in tensors.items())
    assert checkpoint.load_tokenizer(folder).merges == TOKENIZER.merges
    assert checkpoint.read_config(folder) == MICRO


def test_the_average_is_what_is_loaded(tmp_path: Path) -> None:
    """A checkpoint with a moving average gives that as its model, one without the weights themselves."""
    made, _ = trained(3)
    averaged, _ = read_model(str(save(tmp_path / "with", 3, made)))
    plain, _ = read_model(str(save(tmp_path / "without", 3, Trained(made.model, made.optimiser))))
    assert all(torch.equal(value, made.model.state_dict()[name]) for name, value in plain.state_dict().items())
    assert made.ema is not None
    with made.ema.swapped():
        assert all(torch.equal(value, made.model.state_dict()[name]) for name, value in averaged.state_dict().items())
    assert not any(parameter.is_meta for parameter in averaged.parameters())


@pytest.mark.parametrize("lost", [MODEL, OPTIMISER, EMA, TOKENIZER_FILE, STATE])
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
    made, _ = trained(1)
    from wit import storage

    original = storage.Draft.publish
    for survivors in range(5):
        published: list[str] = []

        def failing(draft: storage.Draft, published: list[str] = published, survivors: int = survivors) -> None:
            if len(published) == survivors:
                draft.discard()
                raise KeyboardInterrupt
            published.append(draft.url)
            original(draft)

        monkeypatch.setattr(storage.Draft, "publish", failing)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2, made)
        monkeypatch.setattr(storage.Draft, "publish", original)
        assert checkpoint.newest(str(tmp_path)) == str(first)
        assert not list(tmp_path.rglob("*.tmp*"))
    assert checkpoint.newest(str(tmp_path)) == str(first)
    assert save(tmp_path, 2, made) == Path(checkpoint.newest(str(tmp_path)) or "")


def test_old_checkpoints_go(tmp_path: Path) -> None:
    """Only the newest are kept, by number and not by name; what kills left of others goes as well."""
    folders = [save(tmp_path, step) for step in (5, 6, 7, 99_999_999, 100_000_000)]
    (folders[1] / STATE).unlink()
    (folders[2] / MODEL).unlink()
    checkpoint.prune(str(tmp_path), 2)
    assert checkpoint.complete_folders(str(tmp_path)) == [str(folder) for folder in folders[3:]]
    assert sorted(folders[0].parent.iterdir()) == sorted(folders[3:])


def test_multiples_stay_for_good(tmp_path: Path) -> None:
    """Of old checkpoints those of multiples of a number of steps are kept, besides the newest."""
    for step in range(1, 8):
        save(tmp_path, step)
        checkpoint.prune(str(tmp_path), 2, 3)
    assert [checkpoint.step_of(one) for one in checkpoint.complete_folders(str(tmp_path))] == [3, 6, 7]


def test_of_torn_checkpoints_none_counts(tmp_path: Path) -> None:
    """Whichever file is cut off at whatever byte, or gone: the whole checkpoint before is the newest."""
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    whole = {path: path.read_bytes() for path in sorted(second.iterdir())}
    rng = Random(0)
    for _ in range(200):
        path = rng.choice(list(whole))
        kept = rng.randrange(len(whole[path]))
        path.write_bytes(whole[path][:kept])
        assert checkpoint.newest(str(tmp_path)) == str(first)
        path.unlink()
        assert checkpoint.newest(str(tmp_path)) == str(first)
        path.write_bytes(whole[path])
        assert checkpoint.newest(str(tmp_path)) == str(second)


def test_a_snapshot_is_written_beside_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the weights of the step it is of, though training went on before it was written; one at a time."""
    made, stepper = trained(1)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    may_write, original, running = threading.Event(), checkpoint.write, []

    def slow(out: str, one: Snapshot) -> str:
        running.append(one.state.step)
        assert may_write.wait(30)
        return original(out, one)

    monkeypatch.setattr(checkpoint, "write", slow)
    with Saver(str(tmp_path), Run(keep_checkpoints=5)) as saver:
        saver.submit(snapshot(Trained(made.model, made.optimiser), 1))
        advance(made, stepper, 1, 1)
        saver.check()
        assert checkpoint.newest(str(tmp_path)) is None
        may_write.set()
        saver.submit(snapshot(made, 2))
        assert checkpoint.newest_step(str(tmp_path)) == 1  # the first is written before the second begins
    assert running == [1, 2]
    found = read_model(checkpoint.complete_folders(str(tmp_path))[0])[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in before.items())


def test_a_checkpoint_that_cannot_be_written_ends_training(tmp_path: Path) -> None:
    """The failure of the thread is raised by the next call, and at the end at the latest."""
    one = snapshot(trained(1)[0], 1)
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written"), Saver(str(tmp_path), Run()) as saver:
        saver.submit(one)
    saver = Saver(str(tmp_path), Run())
    saver.submit(one)
    with pytest.raises(OutputError, match="cannot be written"):
        saver.submit(one)


def without_average() -> Trained:
    made, _ = trained(1)
    return Trained(made.model, made.optimiser)


class _Bomb:
    def __reduce__(self) -> tuple[type[Exception], tuple[str]]:
        return RuntimeError, ("unpickled",)


def _torch_saved() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("saved", [pickle.dumps(_Bomb()), _torch_saved(), b"", b"\x08\0\0\0\0\0\0\0notjson!"])
def test_nothing_pickled_is_loaded(tmp_path: Path, saved: bytes) -> None:
    """A pickle, or any other file, in place of the tensors is refused in one line and never run."""
    folder = save(tmp_path, 1, without_average())
    (folder / MODEL).write_bytes(saved)
    facts = json.loads((folder / STATE).read_text())
    for one in facts["files"]:
        one["bytes"] = len(saved) if one["name"] == MODEL else one["bytes"]
    (folder / STATE).write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"model\.safetensors: expected safetensors"):
        read_model(str(folder))


def test_a_folder_without_checkpoint_is_a_users_mistake(tmp_path: Path) -> None:
    """A path that holds no checkpoint is named."""
    with pytest.raises(InputError, match="expected a checkpoint or a training run"):
        checkpoint.find(str(tmp_path / "nothing"))
