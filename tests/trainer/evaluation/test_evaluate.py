"""`wit evaluate` on sets of every format: features, prompts, probes, and what is wrong with them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

import trainer.evaluation.features
from tests.trainer.evaluation.test_scoring import make_model
from tests.trainer.ranks import run_ranks
from trainer.evaluation.cli import evaluate
from trainer.evaluation.evaluating import compare_prompts, score_prompts
from trainer.evaluation.features import Embedding, Features, embed_set
from trainer.evaluation.problems import Wording, pose, read_words
from trainer.evaluation.scoring import prompt_scorer
from trainer.evaluation.sets import open_set
from trainer.interchange.writing import write_openai
from trainer.loader.decode import decode_center
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.models.flops import dense_macs
from trainer.models.inputs import normalise_images
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError, UserError
from wit.schema import PREDICTIONS

COLOURS = {"blue_thing": (20, 20, 220), "green_thing": (20, 220, 20), "red_thing": (220, 20, 20)}
MODEL = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval()
TOKENIZER = ClipTokenizer([("t", "h")])
MERGES = [("t", "h"), ("r", "e")]  # of `make_model`


def picture(colour: tuple[int, ...], seed: int) -> bytes:
    pixels = np.clip(np.random.default_rng(seed).normal(colour, 25, (40, 44, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_classes(folder: Path, num_images: int, seed: int = 0) -> Path:
    for place, (name, colour) in enumerate(COLOURS.items()):
        (folder / name).mkdir(parents=True)
        for number in range(num_images):
            (folder / name / f"{number:02d}.png").write_bytes(picture(colour, seed + 100 * place + number))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with 4 test and 8 training images of each of three colours, and the test images in a tar."""
    folder = tmp_path_factory.mktemp("sets")
    write_classes(folder / "set" / "test", 4)
    write_classes(folder / "set" / "train", 8, seed=1_000)
    with tarfile.open(folder / "colours.tar", "w") as archive:
        for path in sorted((folder / "set" / "test").rglob("*.png")):
            archive.add(path, f"test/{path.parent.name}/{path.name}")
    for name, said in (("unlabelled", ""), ("several", "red|blue")):
        (folder / name).mkdir()
        (folder / name / "1.png").write_bytes(picture((0, 0, 0), 1))
        (folder / name / "metadata.csv").write_text(f"file_name,labels\n1.png,{said}\n")
    (folder / "bare").mkdir()
    pq.write_table(pa.table({"image": [picture((0, 0, 0), 1)]}), folder / "bare" / "test.parquet")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A model of random weights, in a file for other programs, and the options that name its vocabulary."""
    folder = tmp_path_factory.mktemp("model")
    merges = folder / "merges.txt"
    merges.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    write_openai(str(folder / "model.safetensors"), make_model("contrastive"))
    return [str(folder / "model.safetensors"), "--merges", str(merges), "--device", "cpu"]


def run(checkpoint: list[str], *arguments: object) -> str:
    shown = CliRunner().invoke(evaluate, [*checkpoint, *map(str, arguments)], catch_exceptions=False)
    assert shown.exit_code == 0
    return shown.output


def result(out: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results" / f"{name}.json").read_text())
    return found


def embed(path: Path, cache: Path | str = "", skips_broken: bool = False) -> Features:
    return embed_set(MODEL, open_set(f"set={path}"), Embedding(str(cache), skips_broken))


@torch.no_grad()
def test_features_are_what_the_tower_projects(root: Path) -> None:
    """Of a Vision Transformer and of a ResNet: what is read of features is the embedding of one image at a time; labels
    and names are the set's."""
    for name in ("ViT-micro/16", "RN-micro"):
        model = build_clip(CONFIGS[name], seed=0).eval()
        found = embed_set(model, open_set(f"set={root / 'set'}"), Embedding())
        assert found.classes == tuple(COLOURS)
        assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        for row in (0, 5, 11):
            body = (root / "set" / found.items[row]).read_bytes()
            pixels = torch.tensor(decode_center(body, model.config.vision.image_px))[None]
            expected = model.encode_image(normalise_images(pixels))[0].numpy()
            embedding = model.read_features(torch.from_numpy(found.features[row : row + 1]))[0].numpy()
            np.testing.assert_allclose(embedding, expected, atol=1e-5)


@pytest.mark.parametrize("objective", ["contrastive", "sigmoid", "bag_of_words", "captioning"])
@torch.no_grad()
def test_kept_features_score_as_images_do(root: Path, objective: str) -> None:
    """For a model of each objective: logits from features are those from the images."""
    model = make_model(objective)
    found = embed_set(model, open_set(f"set={root / 'set'}"), Embedding())  # type: ignore[arg-type]
    classes, templates = ("red", "a very blue thing"), ("a {label}", "{label}")
    prompts = [[template.format(label=name) for template in templates] for name in classes]
    scores = score_prompts(model, ClipTokenizer(MERGES), found, prompts)  # type: ignore[arg-type]
    bodies = [(root / "set" / item).read_bytes() for item in found.items]
    images = torch.stack([torch.tensor(decode_center(body, 32)) for body in bodies])
    score = prompt_scorer(model, ClipTokenizer(MERGES), prompts)
    expected = score(model.read_features(model.image_features(normalise_images(images))))  # type: ignore[operator]
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-4)


def test_a_class_of_several_names_is_the_mean_of_all_prompts(root: Path) -> None:
    """Classes with one, two and three names: each is scored by the mean of its own prompts."""
    found = embed(root / "set")
    prompts = (("red",), ("a sea", "a sky"), ("grass", "a leaf", "green"))
    scores = score_prompts(MODEL, TOKENIZER, found, prompts)
    for number, own in enumerate(prompts):
        alone = score_prompts(MODEL, TOKENIZER, found, (own, ("other",)))
        np.testing.assert_allclose(scores[:, number], alone[:, 0], atol=1e-5)


def test_a_folder_a_tar_and_two_commands_give_one_result(root: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """The same images in folders and in a tar; the second time from features that are kept."""
    lines = [
        run(checkpoint, "--data", f"colours={root / 'set'}", "--out", tmp_path / "a"),
        run(checkpoint, "--data", f"colours={root / 'colours.tar'}", "--out", tmp_path / "b"),
        run(checkpoint, "--data", f"colours={root / 'colours.tar'}", "--out", tmp_path / "b"),
    ]
    assert len({text.split("\n", 1)[1] for text in lines}) == 1
    first, second = (result(tmp_path / out, "colours.zero_shot") for out in "ab")
    assert first["details"].pop("data") != second["details"].pop("data")
    assert first.pop("made_from") != second.pop("made_from")
    assert first == second
    table = pq.read_table(tmp_path / "a" / "predictions" / "colours.parquet")
    assert table.schema.equals(PREDICTIONS)
    assert table.num_rows == first["num_items"] == 12


def test_a_result_adds_up(root: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """Value, classes and confusion matrix of a result are scikit-learn's of its predictions."""
    run(checkpoint, "--data", f"s={root / 'set'}", "--out", tmp_path, "--metric", "mean_per_class")
    facts = json.loads((tmp_path / "checkpoint.json").read_text())
    assert facts["gflops_per_image"] == dense_macs(MODEL.config).image / 1e9
    found = result(tmp_path, "s.zero_shot")
    rows = pq.read_table(tmp_path / "predictions" / "s.parquet").to_pylist()
    labels, predictions = ([row[name] for row in rows] for name in ("label", "prediction"))
    classes = found["details"]["classes"]
    matrix = confusion_matrix(labels, predictions, labels=classes)
    assert found["details"]["confusion"] == [[i, j, matrix[i, j]] for i in range(3) for j in range(3) if matrix[i, j]]
    assert found["value"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert found["chance"] == pytest.approx(1 / 3)
    low, high = found["interval"]
    assert low <= found["value"] <= high
    assert [row["accuracy"] for row in found["by_class"]] == [matrix[i, i] / 4 for i in range(3)]
    for row, counts in zip(found["by_class"], matrix, strict=True):
        wrong = counts.copy()
        wrong[classes.index(row["class"])] = 0
        assert row["times"] == wrong.max()


def test_probes_find_planted_colours(root: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """Random features tell three colours: a probe on train/ of the set's folder is right, few shots nearly."""
    shown = run(checkpoint, "--data", f"s={root / 'set'}", "--probe", "--shots", "1,2,16", "--out", tmp_path)
    probe, few = result(tmp_path, "s.linear_probe"), result(tmp_path, "s.few_shot")
    assert probe["value"] == 1.0
    assert (probe["details"]["num_train"], probe["details"]["num_validation"]) == (18, 6)
    assert [row["shots"] for row in few["details"]["curve"]] == [1, 2]
    assert few["details"]["shots_left_out"] == [16]
    assert few["value"] >= 0.8
    assert "linear probe accuracy 100.0%" in shown
    assert "left out, as a class has fewer training images: 16 shots" in shown


def test_a_resumed_embedding_is_the_same(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill only what is missing is computed, after that nothing is; the features are those without a cache."""
    monkeypatch.setattr(trainer.evaluation.features, "PART_ITEMS", 5)
    expected = embed(root / "set")
    embed(root / "set", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "features.json", "part-00000.safetensors", "part-00001.safetensors", "part-00002.safetensors",
    ]  # fmt: skip
    (folder / "features.json").unlink()
    (folder / "part-00001.safetensors").unlink()
    computed = []
    compute = trainer.evaluation.features._compute

    def counted(*arguments: Any) -> Any:
        computed.append(len(arguments[1]))
        return compute(*arguments)

    monkeypatch.setattr(trainer.evaluation.features, "_compute", counted)
    for _ in range(2):
        found = embed(root / "set", tmp_path)
        np.testing.assert_array_equal(found.features, expected.features)
        assert (found.items, found.classes) == (expected.items, expected.classes)
    assert computed == [5]


def test_features_are_of_one_model_and_one_content(root: Path, tmp_path: Path) -> None:
    """Another picture in the set, or another model, has features of its own."""
    shutil.copytree(root / "set" / "test", tmp_path / "set")
    cache = tmp_path / "cache"
    before = embed(tmp_path / "set", cache)
    (tmp_path / "set" / "red_thing" / "00.png").write_bytes(picture((0, 0, 0), 7))
    after = embed(tmp_path / "set", cache)
    assert not np.array_equal(before.features, after.features)
    embed_set(build_clip(CONFIGS["ViT-micro/16"], seed=1).eval(), open_set(f"set={tmp_path / 'set'}"),
              Embedding(str(cache)))  # fmt: skip
    assert len(list(cache.iterdir())) == 3


def test_kept_features_that_are_damaged_are_never_used(root: Path, tmp_path: Path) -> None:
    """One line says which file to remove, of one changed bit too; without it, what is missing is computed again."""
    expected = embed(root / "set", tmp_path)
    (part,) = tmp_path.rglob("part-*")
    whole = part.read_bytes()
    bit = len(whole) // 2  # somewhere in the features
    for damaged in (b"not features", b"", whole[:-9], whole[:bit] + bytes([whole[bit] ^ 1]) + whole[bit + 1 :]):
        part.write_bytes(damaged)
        with pytest.raises(InputError, match=r"part-00000\.safetensors: expected .*; remove it"):
            embed(root / "set", tmp_path)
    part.unlink()
    np.testing.assert_array_equal(embed(root / "set", tmp_path).features, expected.features)
    for said in ('{"num_parts": 7}', "no JSON"):
        (part.parent / "features.json").write_text(said)
        np.testing.assert_array_equal(embed(root / "set", tmp_path).features, expected.features)
    assert json.loads((part.parent / "features.json").read_text())["num_parts"] == 1


def test_broken_images_are_an_error_or_counted(root: Path, tmp_path: Path) -> None:
    """One line names the image; left out, it is counted, and the others are in their order."""
    shutil.copytree(root / "set" / "test", tmp_path / "set")
    (tmp_path / "set" / "green_thing" / "01.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"green_thing/01\.png: expected an image, found not_image"):
        embed(tmp_path / "set")
    found = embed(tmp_path / "set", skips_broken=True)
    assert found.rejected == {"not_image": 1}
    assert found.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 4
    assert "green_thing/01.png" not in found.items
    whole = embed(root / "set")
    np.testing.assert_allclose(found.features, np.delete(whole.features, 5, axis=0), atol=1e-5)


_ONE_RANK = """
import sys
import numpy as np
import torch
import trainer.evaluation.features as features
from trainer.evaluation.sets import open_set
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.parallel.ranks import find_ranks, joined
from wit.errors import InputError

torch.set_num_threads(1)
features.PART_ITEMS = 5
ranks = find_ranks()
model = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval()
with joined(ranks, torch.device("cpu")):
    for _ in range(2):
        found = features.embed_set(model, open_set(sys.argv[1]), features.Embedding(sys.argv[2]), ranks)
        np.save(f"{sys.argv[3]}-{ranks.rank}.npy", found.features)
    try:
        features.embed_set(model, open_set(sys.argv[4]), features.Embedding(), ranks)
    except InputError as error:
        open(f"{sys.argv[3]}-{ranks.rank}.txt", "w").write(str(error))
"""


def test_ranks_share_the_images(root: Path, tmp_path: Path) -> None:
    """Two ranks get what one gets, from their own parts and then from all that are kept; both say what is broken."""
    shutil.copytree(root / "set" / "test", tmp_path / "set")
    (tmp_path / "set" / "red_thing" / "03.png").write_bytes(b"no picture")
    run_ranks(_ONE_RANK, 2, [f"s={root / 'set'}", str(tmp_path / "c"), str(tmp_path / "f"), f"b={tmp_path / 'set'}"])
    expected = embed(root / "set").features
    for rank in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"f-{rank}.npy"), expected, atol=1e-5)
        assert "red_thing/03.png: expected an image" in (tmp_path / f"f-{rank}.txt").read_text()


def test_prompts_are_compared(root: Path) -> None:
    """Rows of the class name, the default prompt, single templates and their ensemble; each is what it says."""
    found = embed(root / "set")
    problem = pose(found, read_words("s", Wording(templates="sample")))
    rows = compare_prompts(MODEL, TOKENIZER, found, problem)
    assert [row["num_templates"] for row in rows] == [1, 1, 1, 1, 7]
    scores = score_prompts(MODEL, TOKENIZER, found, problem.prompts())
    assert rows[-1]["value"] == float((scores.argmax(axis=1) == problem.labels).mean())
    assert rows[2]["value"] <= rows[3]["value"]


def test_a_suite_takes_the_sets_that_are_there(root: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """Of a folder of sets those of the suite are evaluated, under the paper's names; what is not there is said."""
    shutil.copytree(root / "set" / "test", tmp_path / "data" / "oxford-pets")
    shown = run(checkpoint, "--data", tmp_path / "data", "--suite", "kornblith", "--out", tmp_path / "out")
    assert "kornblith: 1 of 12 sets; not there: Food101" in shown
    assert "zero-shot mean_per_class" in shown
    assert "not as the paper's OxfordPets: 12 images, Table 9 has 3,669; 3 classes, the paper's prompts 37" in shown
    assert result(tmp_path / "out", "OxfordPets.zero_shot")["metric"] == "mean_per_class"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{root}/none"], "none: expected a file here"),
        (["--data", "a/b={root}/set"], "expected a name of letters"),
        (["--data", "a={root}/set", "--data", "a={root}/colours.tar"], "found two of the name 'a'"),
        (["--data", "a={root}/colours.tar", "--probe"], "expected images to fit on, found none; name them"),
        (["--data", "a={root}/set", "--probe", "--train", "b={root}/set"], "--train 'b=.*': expected NAME=PATH"),
        (["--data", "a={root}/unlabelled"], "unlabelled: expected the class of every image, .* 1 of 1; put"),
        (["--data", "a={root}/set", "--probe", "--train", "a={root}/unlabelled"], "unlabelled: expected the class of"),
        (["--data", "a={root}/bare"], "bare: expected the class of every image, .* 1 of 1; fetch its labels"),
        (["--data", "a={root}/several"], "a: expected one class an image for accuracy, found several; give --metric"),
        (["--data", "a={root}/set", "--shots", "0"], "--shots '0': expected numbers above 0"),
        (["--data", "a={root}/set", "--suite", "papers"], "--suite 'papers': expected one of paper"),
        (["--data", "{root}", "--suite", "paper"], "expected sets of paper"),
        (["--data", "a={root}/set", "--templates", "photos"], "photos: expected"),
        (["--data", "a={root}/set", "--classes", "{root}/none.txt"], "none.txt: expected a file"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_images_are_read(
    root: Path, checkpoint: list[str], arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, and no image was embedded."""
    monkeypatch.delattr(trainer.evaluation.features, "_compute")
    with pytest.raises(UserError, match=message):
        run(checkpoint, *(word.format(root=root) for word in arguments))


def test_empty_and_missing_classes_are_refused(root: Path, tmp_path: Path) -> None:
    """An empty class folder, below a split too, and images without a class."""
    for split in ("test", ""):
        folder = tmp_path / f"set{split}" / split
        shutil.copytree(root / "set" / "test", folder)
        (folder / "none_here").mkdir()
        with pytest.raises(InputError, match="none_here: expected images of the class 'none_here', found none"):
            open_set(f"s={tmp_path / f'set{split}'}")
    (tmp_path / "flat").mkdir()
    shutil.copy(root / "set" / "test" / "red_thing" / "00.png", tmp_path / "flat")
    with pytest.raises(InputError, match="expected the class of every image, found none for 1 of 1"):
        embed(tmp_path / "flat")
