from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")

import trainer.detector.session
from tests.trainer.conftest import Sample, kill_in_the_middle, write_shards
from tests.trainer.detector.conftest import NUM_PICTURES, encoded, micro_recipe, picture
from trainer.detector.data import PairLoader, split_held_out
from trainer.detector.measuring import measure, whiten_on
from trainer.detector.model import CONFIGS, build_detector
from trainer.detector.recipe import Data, DetectorRecipe
from trainer.detector.training import DetectorResult, train_detector
from trainer.loader.order import LoaderState
from trainer.loader.pictures import find_pictures
from trainer.optim.adamw import build_optimiser
from trainer.saving import checkpoint
from trainer.saving.trained import Trained
from wit.errors import InputError, MismatchError, OutputError, StageError
from wit.locking import locked
from wit.recipe import dumps

NUM_STEPS = 8  # 4 epochs of 36 // 16 = 2 batches


def metrics(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["event"] == "metrics"]


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def results(out: Path) -> dict[str, bytes]:
    """Return what must not depend on how the run went: weights, moments, the detector."""
    kept = files(out)
    return {name: data for name, data in kept.items() if name.startswith(("checkpoints", "detector"))}


def run(out: Path, pictures: Path, recipe: DetectorRecipe | None = None) -> DetectorResult:
    return train_detector(recipe or micro_recipe(), [str(pictures)], str(out), "cpu")


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the micro recipe from beginning to end."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    result = run(out, pictures)
    assert (result.step, result.num_steps, result.stopped_by) == (NUM_STEPS, NUM_STEPS, None)
    return out


def test_a_run_leaves_a_detector(undisturbed: Path, pictures: Path) -> None:
    """Every step is logged, the loss falls, and the file describes pictures as the trained weights, whitened, do."""
    steps = metrics(undisturbed)
    assert [step for step, _ in steps] == list(range(1, NUM_STEPS + 1))
    assert steps[-1][1] < steps[0][1]
    names = [".lock", "checkpoints", "detector.json", "detector.onnx", "log.jsonl", "recipe.toml", "run.json"]
    assert sorted(entry.name for entry in undisturbed.iterdir()) == names
    pytest.importorskip("onnxruntime")
    from trainer.models.inputs import IMAGE_MEAN, IMAGE_STD
    from wit.descriptors import load, scaled

    descriptor = load(str(undisturbed / "detector.onnx"))
    facts = json.loads((undisturbed / "detector.json").read_text())
    assert (descriptor.preparation.side_px, descriptor.preparation.mean) == (32, IMAGE_MEAN)
    assert (descriptor.preparation.std, descriptor.preparation.threshold) == (IMAGE_STD, facts["threshold"])
    assert facts["made"]["recipe"]["model"] == {"name": "micro"}
    bodies = [path.read_bytes() for path in sorted(pictures.rglob("*.png"))[:5]]
    model = build_detector(CONFIGS["micro"], 0)
    folder = checkpoint.find(str(undisturbed))
    Trained(model, build_optimiser(model, micro_recipe().optimiser)).restore(folder)
    found = find_pictures([str(pictures)])
    whiten_on(model, found, split_held_out(len(found), 0.25, 2_000, 0)[0], micro_recipe())
    pixels = np.stack([descriptor.pixels(body) for body in bodies])
    with torch.no_grad():
        expected = model(torch.from_numpy(scaled(pixels, descriptor.preparation))).numpy()
    np.testing.assert_allclose(descriptor.describe(bodies), expected, atol=2e-5)


def test_the_same_recipe_gives_the_same_bytes(undisturbed: Path, pictures: Path, tmp_path: Path) -> None:
    """Weights, moments and the detector are equal bit by bit, with another number of threads and a cache."""
    data = replace(micro_recipe().data, num_threads=5, cache_mb=1, prefetch_batches=1)
    run(tmp_path / "out", pictures, replace(micro_recipe(), data=data))
    assert results(tmp_path / "out") == results(undisturbed)
    assert metrics(tmp_path / "out") == metrics(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(
    number: signal.Signals, undisturbed: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step under way is finished and saved, no detector is written; going on gives the undisturbed run."""
    original, before = trainer.detector.session.pair_step, signal.getsignal(number)

    def struck(*arguments: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*arguments)

    monkeypatch.setattr(trainer.detector.session, "pair_step", struck)
    for step in (1, 2, 3):
        result = run(tmp_path, pictures)
        assert (result.step, result.stopped_by, result.detector) == (step, number, None)
        assert signal.getsignal(number) == before
    monkeypatch.setattr(trainer.detector.session, "pair_step", original)
    assert run(tmp_path, pictures).detector == str(tmp_path / "detector.onnx")
    assert results(tmp_path) == results(undisturbed)


def test_a_killed_run_goes_on_as_if_nothing_had_been(undisturbed: Path, pictures: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of training, then the same call: the bytes of the undisturbed run."""
    (tmp_path / "recipe.toml").write_text(dumps(micro_recipe()))
    out = tmp_path / "out"
    code = (
        "import sys, time, torch, trainer.detector.session as session; torch.set_num_threads(1)\n"
        "step = session.pair_step; session.pair_step = lambda *a: (time.sleep(0.1), step(*a))[1]\n"
        "from trainer.detector.recipe import load_detector_recipe as load\n"
        "from trainer.detector.training import train_detector as train\n"
        "train(load(sys.argv[1]), [sys.argv[2]], sys.argv[3], 'cpu')"
    )
    kill_in_the_middle(code, [str(tmp_path / "recipe.toml"), str(pictures), str(out)], out)
    assert checkpoint.newest(str(out)) is not None
    assert run(out, pictures).step == NUM_STEPS
    assert results(out) == results(undisturbed)
    assert not [path for path in out.rglob("*") if path.name.startswith(".tmp-")]


def test_a_finished_run_has_nothing_to_do(undisturbed: Path, pictures: Path) -> None:
    """The same call again changes no byte, and says again what the detector is worth; a lost detector comes back."""
    before = files(undisturbed)
    result = run(undisturbed, pictures)
    assert result.measured is not None
    assert result.measured.num_pictures == NUM_PICTURES // 4
    assert files(undisturbed) == before
    (undisturbed / "detector.json").write_text('{"held_out": [1]}')
    with pytest.raises(InputError, match="expected what training wrote, found something else; remove it"):
        run(undisturbed, pictures)
    (undisturbed / "detector.json").unlink()
    run(undisturbed, pictures)
    assert files(undisturbed) == before


def test_another_recipe_or_other_pictures_are_refused(undisturbed: Path, pictures: Path, tmp_path: Path) -> None:
    """What differs is said; a foreign folder stays untouched; one run at a time in a folder."""
    with pytest.raises(MismatchError, match=r"recipe\.run\.seed: 0 -> 1.*choose another --out"):
        run(undisturbed, pictures, micro_recipe(seed=1))
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(number)))
    with pytest.raises(MismatchError, match=r"pictures\.num_pictures: 48 -> 40"):
        run(undisturbed, tmp_path)
    with pytest.raises(MismatchError, match="expected a new folder or a training run"):
        run(tmp_path, pictures)
    assert len(list(tmp_path.iterdir())) == 40
    before = files(undisturbed)
    with locked(str(undisturbed), "wit train"), pytest.raises(OutputError, match="train-detector is at work"):
        run(undisturbed, pictures)
    assert files(undisturbed) == before


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that have run away are never saved over good ones, nor exported."""
    original, taken = trainer.detector.session.pair_step, []

    def diverging(*arguments: Any) -> Any:
        numbers = original(*arguments)
        taken.append(numbers)
        return (
            numbers
            if len(taken) <= 3
            else replace(numbers, loss=numbers.loss * float("nan"), skipped=torch.tensor(True))
        )

    monkeypatch.setattr(trainer.detector.session, "pair_step", diverging)
    with pytest.raises(StageError, match=r"step \d: expected a finite loss .*found 1 updates in a row"):
        run(tmp_path / "out", pictures, micro_recipe(max_skipped_steps=0))
    assert [Path(one).name for one in checkpoint.complete_folders(str(tmp_path / "out"))] == ["step-00000002"]
    assert not (tmp_path / "out" / "detector.onnx").exists()


def test_broken_pictures_are_replaced_and_logged(tmp_path: Path) -> None:
    """A corrupt picture ends in the log with the reason and what took its place; of held-out ones it is counted."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}.png").write_bytes(encoded(picture(number)))
    (folder / "40.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "41.jpg").write_bytes(b"<html>")
    result = run(tmp_path / "out", folder)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    replaced = {(line["key"], line["reason"].partition(":")[0]) for line in lines if line["event"] == "replaced"}
    assert replaced <= {("40.png", "corrupt_image"), ("41.jpg", "not_image")}
    assert result.num_replaced == sum(line["event"] == "replaced" for line in lines)
    assert result.measured is not None
    assert len(replaced) + result.measured.num_unreadable == 2


def test_shards_and_folders_hold_the_same_pictures(
    samples: list[Sample], shards: Path, pictures: Path, tmp_path: Path
) -> None:
    """Shards are read by their indexes; several sources are one; names and bytes are those of the samples."""
    found = find_pictures([str(shards), str(pictures)])
    assert len(found) == len(samples) + NUM_PICTURES
    assert [found.name(place) for place in (0, len(samples) - 1)] == [samples[0][0]["key"], samples[-1][0]["key"]]
    assert [found.read(place) for place in (0, len(samples) - 1)] == [samples[0][1], samples[-1][1]]
    assert found.name(len(samples)) == "a/00.png"
    assert found.read(len(found) - 1) == (pictures / "b" / "47.png").read_bytes()
    moved = write_shards(tmp_path / "moved", samples, 25)
    assert find_pictures([str(moved), str(pictures)]).hash == found.hash
    assert find_pictures([str(pictures), str(moved)]).hash != found.hash


def batches(loader: PairLoader, count: int) -> list[Any]:
    made = iter(loader)
    found = [next(made) for _ in range(count)]
    made.close()
    return found


def test_batches_go_on_from_their_state(pictures: Path) -> None:
    """A loader started from the state beside a batch gives the next ones, across epochs, edits and all."""
    found = find_pictures([str(pictures)])
    places = np.arange(len(found))
    start = LoaderState(0, 0, 7, 16, found.hash)
    whole = batches(PairLoader(found, places, micro_recipe(), start), 7)
    for at in (1, 2, 3, 5):
        rest = batches(PairLoader(found, places, micro_recipe(), whole[at - 1].state), 7 - at)
        for left, right in zip(rest, whole[at:], strict=True):
            assert (left.pictures == right.pictures).all()
            assert (left.copies == right.copies).all()
            assert left.state == right.state
    epoch = np.concatenate([batch.pictures for batch in whole[:3]])
    assert len({one.tobytes() for one in epoch}) == NUM_PICTURES
    assert not any((left.copies == right.copies).all() for left, right in zip(whole[:3], whole[3:6], strict=True))


def test_held_out_pictures_are_apart() -> None:
    """Every picture is on one side, the same one each time; as many as were asked for are kept apart."""
    trained_on, held_out = split_held_out(1_000, 0.1, 50, 3)
    assert (len(trained_on), len(held_out)) == (950, 50)
    assert sorted([*trained_on, *held_out]) == list(range(1_000))
    assert (split_held_out(1_000, 0.1, 50, 3)[1] == held_out).all()
    assert (split_held_out(1_000, 0.1, 50, 4)[1] != held_out).any()
    assert len(split_held_out(10, 0.0, 50, 3)[1]) == 0


def test_training_teaches_to_find_copies(pictures: Path, tmp_path: Path) -> None:
    """After 120 steps copies of pictures never seen are found more often than before; the chance is 1 in 12."""
    recipe = micro_recipe(epochs=60, save_every_steps=1_000, log_every_steps=1_000)
    found = find_pictures([str(pictures)])
    held_out = split_held_out(len(found), 0.25, 2_000, 0)[1]
    before = measure(build_detector(CONFIGS["micro"], 0), found, held_out, recipe)
    after = run(tmp_path / "out", pictures, recipe).measured
    assert before is not None
    assert after is not None
    assert after.accuracy > before.accuracy
    assert after.accuracy >= 0.5


def test_without_held_out_pictures_there_is_no_measure(pictures: Path, tmp_path: Path) -> None:
    """The detector is written all the same, with the threshold of SSCD's authors."""
    recipe = replace(micro_recipe(epochs=1), data=Data(batch_size=16, held_out_share=0.0))
    assert run(tmp_path / "out", pictures, recipe).measured is None
    facts = json.loads((tmp_path / "out" / "detector.json").read_text())
    assert (facts["held_out"], facts["threshold"]) == (None, 0.75)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["{pictures}/a", "no-such-folder"], "no-such-folder: expected a file here, found nothing"),
        (["{empty}"], "expected a folder of images or of shards (*.tar), found neither"),
        (["{few}"], "expected at least one batch of 16 pictures, found 2 to train on; set a smaller data.batch_size"),
        (["{broken}"], "expected images, found 65 bad ones in a row, the first"),
    ],
)
def test_pictures_that_are_not_there_are_one_line(
    pictures: Path, tmp_path: Path, paths: Sequence[str], message: str
) -> None:
    """Wrong paths, too few pictures, nothing but broken ones: what was expected, what was found."""
    for name, count, body in (("empty", 0, b""), ("few", 2, encoded(picture(1))), ("broken", 40, b"no image")):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").write_bytes(body)
    names = {"pictures": pictures, **{name: tmp_path / name for name in ("empty", "few", "broken")}}
    with pytest.raises(InputError) as caught:
        train_detector(micro_recipe(), [path.format(**names) for path in paths], str(tmp_path / "out"), "cpu")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
