from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.trainer.conftest import micro_recipe
from tests.trainer.ranks import run_ranks
from trainer.evaluation.class_folders import require_class_folders
from trainer.evaluation.cli import evaluate
from trainer.evaluation.evaluating import evaluate_zero_shot
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.problems import Wording, read_words
from trainer.evaluation.scoring import fill_templates, prompt_means
from trainer.evaluation.sets import open_set
from trainer.evaluation.templates import TEMPLATES, read_templates
from trainer.interchange.reading import read_model
from trainer.interchange.writing import write_openai
from trainer.loader.decode import decode_center
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.models.inputs import normalise_images
from trainer.parallel.ranks import ALONE, Ranks
from trainer.saving.checkpoint import find
from trainer.tokenizer import ClipTokenizer
from trainer.training import train
from wit.errors import InputError
from wit.schema import PREDICTIONS
from wit.statistics import clopper_pearson

MODEL = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval()
TOKENIZER = ClipTokenizer([("t", "h")])
COLOURS = {"red_thing": (220, 20, 20), "green thing": (20, 220, 20), "blue thing": (20, 20, 220)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with two, three and four pictures of about their colour."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for count, (name, colour) in enumerate(COLOURS.items(), 2):
        (root / name).mkdir()
        for number in range(count):
            pixels = np.clip(rng.normal(colour, 25, (40, 50 + number, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
        (root / name / "notes.txt").write_text("not a picture")
    return root


def one_embedding(prompt: str) -> torch.Tensor:
    return MODEL.encode_text(torch.from_numpy(TOKENIZER([prompt], 16)))[0]


@torch.no_grad()
def test_a_class_is_the_mean_of_its_prompts() -> None:
    """Prompts are embedded one by one, averaged as unit vectors, and made unit vectors again."""
    templates = ("a {label}", "one very {label} thing", "{label}")
    rows = prompt_means(MODEL, TOKENIZER, fill_templates(["red", "blue sky"], templates))
    for row, name in zip(rows, ("red", "blue sky"), strict=True):
        total = sum(one_embedding(template.format(label=name)) for template in templates)
        assert isinstance(total, torch.Tensor)
        torch.testing.assert_close(row, total / total.norm(), atol=1e-6, rtol=0)


def zero_shot(folder: Path, template: str = "a {label}", ranks: Ranks = ALONE) -> Outcome:
    opened = open_set(str(folder))
    words = read_words(opened.name, Wording())
    return evaluate_zero_shot(MODEL, TOKENIZER, opened, replace(words, templates=(template,)), ranks)


def test_a_folder_of_class_folders(folder: Path) -> None:
    """Classes are folder names in order, with "_" as a space; other files are no images."""
    found = zero_shot(folder)
    assert found.problem.titles == ("blue thing", "green thing", "red thing")
    assert [found.problem.labels.tolist().count(label) for label in range(3)] == [4, 3, 2]
    assert found.items[0] == "blue thing/0.png"


@torch.no_grad()
def test_predictions_are_the_nearest_class(folder: Path) -> None:
    """Each image's class and probabilities are what one image at a time gives."""
    result = zero_shot(folder)
    table = result.predictions()
    rows = table.to_pylist()
    assert table.schema.equals(PREDICTIONS)
    titles = result.problem.titles
    classifier = torch.stack([one_embedding(f"a {name}") for name in titles])
    for row, path, label in zip(rows, result.items, result.problem.labels.tolist(), strict=True):
        pixels = decode_center((folder / path).read_bytes(), 32)
        image = normalise_images(torch.tensor(pixels)[None])
        probabilities = (MODEL.logit_scale.exp() * MODEL.encode_image(image) @ classifier.T).softmax(dim=1)[0]
        assert (row["path"], row["label"]) == (path, titles[label])
        assert row["prediction"] == titles[int(probabilities.argmax())]
        assert row["probability"] == pytest.approx(float(probabilities.max()), abs=1e-5)
        assert row["label_probability"] == pytest.approx(float(probabilities[label]), abs=1e-5)
        assert row["label_rank"] == 1 + int((probabilities > probabilities[label]).sum())
    num_correct = sum(row["label"] == row["prediction"] for row in rows)
    assert (len(rows), result.num_correct, result.accuracy) == (9, num_correct, num_correct / 9)
    assert result.accuracy_interval == clopper_pearson(num_correct, 9, 0.95)


def test_what_is_no_evaluation_set_is_refused(folder: Path, tmp_path: Path) -> None:
    """No folder, no images, one class, an empty class, a picture that cannot be read: each is one clear line."""
    with pytest.raises(InputError, match="none: expected a file here"):
        open_set(str(tmp_path / "none"))
    with pytest.raises(InputError, match="expected an evaluation set"):
        open_set(str(tmp_path))
    (tmp_path / "other").symlink_to(folder / "red_thing")
    with pytest.raises(InputError, match="at least two class folders, found 1"):
        require_class_folders(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected images of the class 'empty'"):
        require_class_folders(str(tmp_path))
    (tmp_path / "empty" / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png: expected an image, found not_image"):
        zero_shot(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: os.mkfifo(root / "a" / "pipe.png"), r"pipe\.png: expected a file, found"),
        (lambda root: (root / "a" / "b.png").mkdir(), r"b\.png: expected a file, found a folder"),
        (lambda root: (root / "a" / "c.png").symlink_to("nowhere"), r"c\.png: expected a file, found"),
        (lambda root: os.mkdir(os.fsencode(root) + b"/\xff"), "expected the name of a class"),
        (lambda root: (root / "\x1b[31m").mkdir(), "expected the name of a class"),
        (lambda root: open(os.fsencode(root) + b"/a/\xff.png", "wb").close(), "expected a name in UTF-8"),
    ],
    ids=["pipe", "folder", "link", "bytes", "escape", "file"],
)
def test_hostile_names_and_files_are_refused(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    """A pipe would be waited for for ever; names of other bytes fit in no table, control characters on no terminal."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"a picture")
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        require_class_folders(str(tmp_path))


def test_templates_by_name_or_from_a_file(tmp_path: Path) -> None:
    """The paper's prompt has a name; a file has one a line; anything else is refused."""
    assert read_templates("photo") == ("A photo of a {label}.",)
    assert all(template.count("{label}") == 1 for templates in TEMPLATES.values() for template in templates)
    path = tmp_path / "prompts.txt"
    path.write_text("a {label}\n\n  the {label}.\n")
    assert read_templates(str(path)) == ("a {label}", "the {label}.")
    path.write_text("a {label}\na thing\n")
    with pytest.raises(InputError, match=r"template 2: expected \{label\} once, found 'a thing'"):
        read_templates(str(path))
    path.write_text("\n")
    with pytest.raises(InputError, match="expected a template a line"):
        read_templates(str(path))
    with pytest.raises(InputError, match="one of photo, sample"):
        read_templates("phot")


def test_evaluate_prints_accuracy_beside_chance(shards: Path, folder: Path, tmp_path: Path) -> None:
    """`wit evaluate` on a run: classes, accuracy, interval, chance; the files say the same.

    So does it on the same weights in a file for other programs.
    """
    train(micro_recipe(epochs=1), str(shards), str(tmp_path / "run"), "cpu")
    out = tmp_path / "evaluation"
    arguments = [str(tmp_path / "run"), "--data", str(folder), "--out", str(out), "--device", "cpu"]
    shown = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert shown.exit_code == 0
    table = pq.read_table(out / "predictions.parquet")
    hits = sum(row["label"] == row["prediction"] for row in table.to_pylist())
    assert table.num_rows == 9
    assert f"zero-shot accuracy {hits / 9:.1%} ({hits}/9; 95 % interval" in shown.output
    assert "chance 33.3% (3 classes)" in shown.output
    assert "top-5 accuracy 100.0%" in shown.output
    assert shown.output.count("taken for") == len({row["label"] for row in table.to_pylist() if row["label_rank"] > 1})
    assert f'"accuracy": {hits / 9}' in (out / "result.json").read_text()
    checkpoint = find(str(tmp_path / "run"))
    released = str(tmp_path / "released.safetensors")
    write_openai(released, read_model(checkpoint)[0])
    words = [released, *arguments[1:3], "--device", "cpu", "--merges", f"{checkpoint}/tokenizer.txt"]
    again = CliRunner().invoke(evaluate, words, catch_exceptions=False)
    assert again.output == shown.output


PROBABILITIES = ("probability", "label_probability")
_ONE_RANK = """
import json
import sys
from pathlib import Path
import torch
import tests.trainer.evaluation.test_zero_shot as test
import trainer.evaluation.features as features
from trainer.parallel.ranks import find_ranks, joined
from trainer.parallel.wrapping import prepare
from trainer.recipe import Run
from wit.errors import InputError

torch.set_num_threads(1)
features.PART_ITEMS, features.BATCH_IMAGES = 5, 2
ranks, device = find_ranks(), torch.device("cpu")
with joined(ranks, device):
    for turn in ("whole", "shards"):
        for folder, out in zip(sys.argv[1::2], sys.argv[2::2]):
            try:
                found = test.zero_shot(Path(folder), ranks=ranks).predictions().to_pylist()
            except InputError as error:
                found = str(error)
            Path(f"{out}-{turn}-{ranks.rank}").write_text(json.dumps(found))
        if turn == "whole":
            prepare(test.MODEL, Run(parallel="fsdp"), ranks, device)
"""


def test_ranks_evaluate_together(folder: Path, tmp_path: Path) -> None:
    """Two ranks, with three and two, then two and two of nine images, get what one gets; both the same error.

    They call a model that is in shards (FSDP) equally often, as it would wait for ever if they did not. The image that
    cannot be read is one that only one of them looks at.
    """
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "red_thing" / "0.png").write_bytes(b"no picture")
    run_ranks(_ONE_RANK, 2, [str(folder), str(tmp_path / "good"), str(broken), str(tmp_path / "bad")])
    alone = zero_shot(folder).predictions().to_pylist()
    for turn in ("whole", "shards"):
        first, second = (json.loads((tmp_path / f"good-{turn}-{rank}").read_text()) for rank in range(2))
        assert first == second
        for row, expected in zip(first, alone, strict=True):  # batches of another size differ in the last bits
            assert row == expected | {name: pytest.approx(expected[name], abs=1e-5) for name in PROBABILITIES}
        for rank in range(2):
            told = (tmp_path / f"bad-{turn}-{rank}").read_text()
            assert "red_thing/0.png: expected an image, found not_image: begins with" in told


@torch.no_grad()
def test_prompts_of_many_classes_are_embedded_in_batches() -> None:
    """Batches that end within a class's prompts change nothing."""
    classes = [f"thing {number}" for number in range(150)]
    rows = prompt_means(MODEL, TOKENIZER, fill_templates(classes, ("a {label}", "{label}")))
    for number in (0, 127, 128, 149):
        expected = torch.nn.functional.normalize(
            one_embedding(f"a {classes[number]}") + one_embedding(classes[number]), dim=0
        )
        torch.testing.assert_close(rows[number], expected, atol=1e-6, rtol=0)


def test_a_model_in_training_stays_so(folder: Path) -> None:
    """An evaluation in the middle of training leaves the model as it was, and is that of a model that is trained."""
    MODEL.train()
    try:
        scores = zero_shot(folder).scores
        assert MODEL.training
    finally:
        MODEL.eval()
    np.testing.assert_array_equal(scores, zero_shot(folder).scores)
