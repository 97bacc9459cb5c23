"""What a run begins with and goes on from, and what is measured of it on the way."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import trainer.evaluation.periodic
import trainer.session
from tests.trainer.conftest import Sample, micro_recipe, write_shards
from tests.trainer.running.test_loop import lines_of, metrics, weights
from trainer.evaluation.cli import evaluate
from trainer.models.build import build_model
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.parallel.ranks import Ranks, own_device
from trainer.recipe import Evaluation, Model, Tokenizer, TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train
from wit.errors import InputError, MismatchError, OutputError, RecipeError, UserError
from wit.storage import Draft


@pytest.fixture(scope="module")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all of its checkpoints."""
    out = tmp_path_factory.mktemp("finished") / "out"
    train(micro_recipe(keep_checkpoints=9), str(shards), str(out), "cpu")
    return out


def step_folder(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:08d}"


def test_a_run_goes_on_from_the_checkpoint_that_is_named(finished: Path, shards: Path, tmp_path: Path) -> None:
    """Elsewhere from a copy of one, under another name: its step, then the losses and weights of the run it is of."""
    shutil.copytree(step_folder(finished, 4), tmp_path / "copy")
    out = tmp_path / "out"
    result = train(micro_recipe(), str(shards), str(out), "cpu", str(tmp_path / "copy"))
    assert result.is_done
    assert metrics(out) == metrics(finished)[4:]
    assert all(torch.equal(value, weights(finished)[name]) for name, value in weights(out).items())


def test_later_checkpoints_are_in_the_way(finished: Path, shards: Path, tmp_path: Path) -> None:
    """To go back, or to begin anew, later checkpoints have to be moved away: they are never dropped."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for resume in (str(step_folder(out, 4)), "never"):
        with pytest.raises(MismatchError, match=r"expected no checkpoint later than .*step-00000009; move it away"):
            train(micro_recipe(), str(shards), str(out), "cpu", resume)
    for step in (6, 8, 9):
        shutil.rmtree(step_folder(out, step))
    assert train(micro_recipe(), str(shards), str(out), "cpu", str(step_folder(out, 4))).is_done
    assert metrics(out) == metrics(finished)
    for step in (2, 4, 6, 8, 9):
        shutil.rmtree(step_folder(out, step), ignore_errors=True)
    assert train(micro_recipe(), str(shards), str(out), "cpu", "never").is_done
    assert metrics(out) == metrics(finished)


def test_a_checkpoint_of_another_order_is_refused(finished: Path, shards: Path, tmp_path: Path) -> None:
    """Another batch or seed would go on with samples that the recipe does not have next; so would a later end."""
    recipe, resume = micro_recipe(), str(step_folder(finished, 8))
    other_batch = replace(recipe, data=replace(recipe.data, batch_size=20))
    with pytest.raises(MismatchError, match=r"step-00000008: .* run with data\.batch_size 20, found one with 16; set"):
        train(other_batch, str(shards), str(tmp_path / "out"), "cpu", resume)
    with pytest.raises(MismatchError, match=r"run with run\.seed 1, found one with 0"):
        train(micro_recipe(seed=1), str(shards), str(tmp_path / "out"), "cpu", resume)
    with pytest.raises(MismatchError, match="at most the 3 steps of the recipe, found one of step 8"):
        train(micro_recipe(epochs=1), str(shards), str(tmp_path / "out"), "cpu", resume)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_comes_while_a_run_is_opened_is_not_passed_over(
    finished: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run before that saves and ends in that moment: what it did is neither done again nor cut out of the log."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    later = shutil.move(step_folder(out, 9), tmp_path / "later")
    log = (out / "log.jsonl").read_bytes()

    def saved_meanwhile(*arguments: Any) -> Any:
        shutil.move(later, step_folder(out, 9))
        return build_model(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.session, "build_model", saved_meanwhile)
        with pytest.raises(OutputError, match="found a checkpoint that another wit train has just written; run the"):
            train(micro_recipe(), str(shards), str(out), "cpu")
    assert (out / "log.jsonl").read_bytes() == log
    assert train(micro_recipe(), str(shards), str(out), "cpu").is_done


def test_a_checkpoint_that_is_none_is_refused(shards: Path, tmp_path: Path) -> None:
    """`--resume` names what is not there."""
    with pytest.raises(InputError, match="no-such: expected a checkpoint or a training run with one, found neither"):
        train(micro_recipe(), str(shards), str(tmp_path / "out"), "cpu", "no-such")


def test_a_model_may_begin_with_anothers_weights(finished: Path, shards: Path, tmp_path: Path) -> None:
    """The first loss is that of the other model, whose vocabulary it takes; what follows is another training."""
    recipe = replace(micro_recipe(), model=Model("ViT-micro/16", start_from=str(finished)))
    out = tmp_path / "out"
    train(recipe, str(shards), str(out), "cpu")
    merges = [(step_folder(each, 9) / "tokenizer.txt").read_bytes() for each in (out, finished)]
    assert merges[0] == merges[1]
    first, of_other = metrics(out)[0], metrics(finished)
    assert first[2] == of_other[0][2]  # the same samples
    assert first[1] < of_other[0][1]
    other = replace(recipe, model=Model("ViT-tiny/8", start_from=str(finished)))
    with pytest.raises(InputError, match="expected"):
        train(other, str(shards), str(tmp_path / "other"), "cpu")


def test_shards_without_an_index_are_trained_on(finished: Path, samples: list[Sample], tmp_path: Path) -> None:
    """Stopped in the first epoch and in the second, with another number of threads: the losses of one go.

    The vocabulary has to be there before the captions are known.
    """
    folder = write_shards(tmp_path / "shards", samples, 25)
    for index in folder.glob("*.parquet"):
        index.unlink()
    recipe = replace(micro_recipe(), data=replace(micro_recipe().data, num_samples=60))
    with pytest.raises(RecipeError, match=r"tokenizer\.merges: expected a vocabulary's file"):
        train(recipe, str(folder), str(tmp_path / "whole"), "cpu")
    recipe = replace(recipe, tokenizer=Tokenizer(str(step_folder(finished, 9) / "tokenizer.txt")))
    assert train(recipe, str(folder), str(tmp_path / "whole"), "cpu").is_done
    out = tmp_path / "out"
    for steps in (2, 3, 4):
        with stopping(steps):
            train(replace(recipe, data=replace(recipe.data, num_threads=steps)), str(folder), str(out), "cpu")
    assert metrics(out) == metrics(tmp_path / "whole")


@contextmanager
def stopping(steps: int) -> Iterator[None]:
    """Have a signal stop a training after so many steps."""
    take, taken = trainer.session.train_step, iter(range(1, 100))

    def struck(*arguments: Any) -> Any:
        if next(taken) == steps:
            signal.raise_signal(signal.SIGTERM)
        return take(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.session, "train_step", struck)
        yield


@pytest.fixture
def images(samples: list[Sample], tmp_path: Path) -> Path:
    """An evaluation set of two classes with two images each."""
    for number, (_, body) in enumerate(samples[:4]):
        folder = tmp_path / "images" / ("red_thing", "blue_thing")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(body)
    return tmp_path / "images"


def evaluated(images: Path, **run: Any) -> TrainRecipe:
    return replace(micro_recipe(**run), evaluation=Evaluation((str(images),), every_steps=4))


def test_accuracy_is_measured_on_the_way_and_changes_nothing(
    finished: Path, shards: Path, images: Path, tmp_path: Path
) -> None:
    """At multiples of the steps and at the end; the training is that of a run without it."""
    out = tmp_path / "out"
    train(evaluated(images), str(shards), str(out), "cpu")
    found = lines_of(out, "evaluation")
    assert [line["step"] for line in found] == [4, 8, 9]
    assert all(line["num_images"] == 4 and line["chance"] == 0.5 and line["weights"] == "trained" for line in found)
    assert all(line["accuracy_low"] <= line["accuracy"] <= line["accuracy_high"] for line in found)
    assert metrics(out) == metrics(finished)


def test_an_evaluation_that_a_kill_prevented_is_made_up_for(
    shards: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies in it at a saved step measures when it goes on, and never twice; averaged weights are said."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out, recipe = tmp_path / "out", evaluated(images, ema_decay=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.evaluation.periodic, "evaluate_zero_shot", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, str(shards), str(out), "cpu")
    assert (checkpoint.newest_step(str(out)), lines_of(out, "evaluation")) == (4, [])
    for _ in range(2):
        assert train(recipe, str(shards), str(out), "cpu").is_done
        assert [line["step"] for line in lines_of(out, "evaluation")] == [4, 8, 9]
    assert {line["weights"] for line in lines_of(out, "evaluation")} == {"averaged"}


def test_several_sets_are_evaluated_as_the_command_does(
    shards: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named sets, with names of classes from a file and the paper's metric of one: a line each, which a kill leaves.

    At the end of the run the accuracy is that of `wit evaluate` on its checkpoint.
    """
    (tmp_path / "names.txt").write_text("red_thing = a red circle\nblue_thing = a blue square\n")
    options = {"classes": str(tmp_path / "names.txt"), "templates": "sample", "every_steps": 0}
    recipe = replace(micro_recipe(), evaluation=Evaluation((f"things={images}", f"other={images}"), **options))
    out = tmp_path / "out"
    train(recipe, str(shards), str(out), "cpu")
    assert "step 9/9  things  zero-shot accuracy" in capsys.readouterr().err
    (things,), (other,) = (lines_of(out, f"evaluation/{name}") for name in ("things", "other"))
    assert {**things, "event": ""} == {**other, "event": ""}
    arguments = [str(out), "--data", f"things={images}", "--classes", options["classes"], "--templates", "sample"]
    shown = CliRunner().invoke(evaluate, [*arguments, "--device", "cpu"], catch_exceptions=False)
    assert f"zero-shot accuracy {things['accuracy']:.1%} ({round(4 * things['accuracy'])}/4;" in shown.output
    line = json.dumps(other, ensure_ascii=False) + "\n"
    (out / "log.jsonl").write_text((out / "log.jsonl").read_text().replace(line, ""))
    assert train(recipe, str(shards), str(out), "cpu").is_done
    assert [len(lines_of(out, f"evaluation/{name}")) for name in ("things", "other")] == [1, 1]


def test_a_set_with_a_broken_image_does_not_end_a_run(
    shards: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is left out, and counted in the log and on the terminal; the set's own metric is in both."""
    folder = shutil.copytree(images, tmp_path / "pets")
    broken = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    broken.with_name("broken.png").write_bytes(b"no picture")
    recipe = replace(micro_recipe(), evaluation=Evaluation((f"OxfordPets={folder}",)))
    assert train(recipe, str(shards), str(tmp_path / "out"), "cpu").is_done
    (line,) = lines_of(tmp_path / "out", "evaluation/OxfordPets")
    assert (line["num_images"], line["rejected"]) == (4, {"not_image": 1})
    shown = capsys.readouterr().err
    assert f"mean_per_class {line['mean_per_class']:.1%}  chance" in shown
    assert "left out, as they could not be read: not_image 1" in shown


def test_sets_of_one_name_and_names_that_do_not_fit_are_said_before(shards: Path, images: Path, tmp_path: Path) -> None:
    """Two sets of one name, and a list of other classes: before the first step."""
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    for evaluation, error, message in (
        (
            Evaluation((str(images), str(images))),
            UserError,
            "evaluation.data: expected a name for each set, found two",
        ),
        (Evaluation((str(images),), classes=str(tmp_path / "names.txt")), InputError, "found none for"),
    ):
        with pytest.raises(error, match=message):
            train(replace(micro_recipe(), evaluation=evaluation), str(shards), str(tmp_path / "out"), "cpu")
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_there_are_said_before_the_first_step(shards: Path, tmp_path: Path) -> None:
    """An evaluation that could only fail in hours fails at once."""
    with pytest.raises(InputError, match="no-such-images: expected a file here"):
        train(evaluated(tmp_path / "no-such-images"), str(shards), str(tmp_path / "out"), "cpu")
    assert not (tmp_path / "out").exists()


def test_steps_are_traced(shards: Path, tmp_path: Path) -> None:
    """Two steps after the first ten, as JSON that a viewer of traces opens; no temporary stays."""
    out = tmp_path / "out"
    train(micro_recipe(epochs=5, profile_steps=2), str(shards), str(out), "cpu")
    assert [path.name for path in (out / "profile").iterdir()] == ["trace.json"]
    names = {event.get("name") for event in json.loads((out / "profile" / "trace.json").read_text())["traceEvents"]}
    assert {"ProfilerStep#10", "ProfilerStep#11", "aten::scaled_dot_product_attention"} <= names
    assert "ProfilerStep#12" not in names


def test_a_trace_that_cannot_be_written_is_said(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer of traces fails without a word, on a full disk for one: the file is named."""
    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", lambda *_: None)
    with pytest.raises(OutputError, match=r"profile/trace\.json: cannot be written; free some space"):
        train(micro_recipe(epochs=5, profile_steps=2), str(shards), str(tmp_path / "out"), "cpu")


def test_a_folder_that_is_claimed_only_in_part_is_ours(
    finished: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill or a full disk between the first files of a run: the same command begins again."""

    publish, out = Draft.publish, str(tmp_path / "out")
    for survivors in (0, 1):
        drafts = iter(range(9))

        def killed(draft: Draft, drafts: Iterator[int] = drafts, survivors: int = survivors) -> None:
            if next(drafts) == survivors:
                draft.file.close()
                raise KeyboardInterrupt
            publish(draft)

        with monkeypatch.context() as patch:
            patch.setattr(Draft, "publish", killed)
            with pytest.raises(KeyboardInterrupt):
                train(micro_recipe(), str(shards), out, "cpu")
    assert train(micro_recipe(), str(shards), out, "cpu").is_done
    assert metrics(tmp_path / "out") == metrics(finished)


def test_more_processes_than_gpus_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third of four processes finds two GPUs; a process alone, or on CPUs, asks for none."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="expected a GPU for each of the 4 processes of this machine, found 2"):
        own_device("cuda", Ranks(2, 4, 2, 4))
    assert own_device("cpu", Ranks(2, 4, 2, 4)) == torch.device("cpu")


def test_the_first_model_is_that_of_the_seed(shards: Path, tmp_path: Path) -> None:
    """A learning rate of zero: the weights at the end are those that the seed gives."""
    recipe = micro_recipe(seed=3, epochs=1)
    train(replace(recipe, optimiser=replace(recipe.optimiser, learning_rate=0.0)), str(shards), str(tmp_path), "cpu")
    found, expected = weights(tmp_path), build_clip(CONFIGS["ViT-micro/16"], 3).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
