"""Evaluation images are kept out, whatever they were re-encoded as, and the reject says which."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from pipelines.audit.training import HashTraining
from pipelines.recipes import Recipe
from pipelines.stages.fingerprint import Fingerprint
from pipelines.stages.overlap import HashReferences, ListEvaluationInputs, Overlap
from pipelines.stages.verb import RunSettings
from tests.pipelines.audited import encoded, picture, write_images, write_tar
from tests.support import MemoryPart, real_data, run_map
from wit.errors import UserError
from wit.evaluation_sets import list_inputs, parse, read_items
from wit.fingerprint import Prints, fingerprint
from wit.image import Limits, prepare
from wit.keys import sample_key
from wit.near import Rule, copy_rule, near_matches
from wit.schema import EVALUATION_INPUTS, FINGERPRINTS
from wit.schema.evaluation import TRAINING_INPUTS
from wit.storage import join, write_parquet


def image_folder(folder: Path) -> Path:
    """Two classes of two images, one corrupt image, and a file that is none."""
    images = {f"{name}.png": encoded(picture(number), "PNG") for number, name in enumerate(["cat/0", "cat/1", "dog/2"])}
    images |= {"dog/3.jpg": encoded(picture(3), "JPEG"), "dog/broken.png": encoded(picture(9), "PNG")[:200]}
    write_images(folder, images | {"labels.txt": b"cat dog"})
    return folder


def overlap(root: Path, stage: Overlap, images: list[bytes]) -> dict[str, pa.Table]:
    """Run the stage's three steps over images, stored as a run stores them."""
    for index, task in enumerate(ListEvaluationInputs(stage.sets)(str(root))):
        for name, table in run_map(HashReferences(stage.turns), task, MemoryPart(root)).items():
            write_parquet(join(str(root), "overlap/references", name, f"part-{index:05d}.parquet"), table)
    prints = Prints.concat([fingerprint(prepare(body, Limits()).body) for body in images])
    count = range(len(images))
    columns = {
        "key": [sample_key(str(number), "") for number in count],
        "bucket": [0 for _ in count],
        "rank": list(count),
        "num_pixels": [1 for _ in count],
        **prints.columns(),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in FINGERPRINTS]
    return run_map(stage, pa.table(arrays, schema=FINGERPRINTS), MemoryPart(root))


def details(tables: dict[str, pa.Table]) -> list[str]:
    return [str(each) for each in tables["rejects"]["detail"].to_pylist()]


def test_copies_and_edits_are_rejected(tmp_path: Path) -> None:
    """An exact copy, a re-encoded and a resized one are rejected with set, item and distance; another picture stays."""
    folder = image_folder(tmp_path / "eval")
    exact = (folder / "dog/3.jpg").read_bytes()
    edited = encoded(picture(0).resize((80, 80)), "JPEG", quality=90)
    tables = overlap(tmp_path, Overlap(sets=(f"pets={folder}",)), [exact, encoded(picture(77), "PNG"), edited])
    assert tables["kept"]["rank"].to_pylist() == [1]
    first, second = tables["rejects"].to_pylist()
    assert (first["stage"], first["reason"], first["detail"]) == ("overlap", "test_overlap", "pets/dog/3.jpg, 0 bits")
    assert second["detail"].startswith("pets/cat/0.png, ")


def test_the_nearest_reference_is_named_and_ties_go_by_name(tmp_path: Path) -> None:
    """Of two sets that hold the same image the first by name is named."""
    folder = image_folder(tmp_path / "eval")
    body = (folder / "cat/0.png").read_bytes()
    assert details(overlap(tmp_path, Overlap(sets=(f"zoo={folder}", f"ark={folder}")), [body])) == [
        "ark/cat/0.png, 0 bits"
    ]


def test_each_set_has_its_threshold(tmp_path: Path) -> None:
    """A copy that is farther than a set's own threshold stays, though that of all sets is wider."""
    folder = image_folder(tmp_path / "eval")
    edited = encoded(picture(0), "JPEG", quality=30)
    wide, narrow = Overlap(sets=(f"pets={folder}",)), Overlap(sets=(f"pets={folder}",), thresholds=("pets=0",))
    assert len(details(overlap(tmp_path / "a", wide, [edited]))) == 1
    assert details(overlap(tmp_path / "b", narrow, [edited])) == []


@pytest.mark.parametrize(("turns", "found"), [("none", 0), ("mirror", 1), ("all", 2)])
def test_turned_copies_are_found_when_asked_for(tmp_path: Path, turns: str, found: int) -> None:
    """A mirrored copy with turns = mirror, one on its side with turns = all."""
    folder = image_folder(tmp_path / "eval")
    turned = [picture(1).transpose(each) for each in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90)]
    bodies = [encoded(each, "PNG") for each in turned]
    assert len(details(overlap(tmp_path, Overlap(sets=(f"pets={folder}",), turns=turns), bodies))) == found


def test_blank_images_are_copies_by_content_alone(tmp_path: Path) -> None:
    """A blank evaluation image rejects the same file, not every blank image of the web."""
    blank = encoded(Image.new("RGB", (64, 64), "white"), "PNG")
    write_images(tmp_path / "eval", {"blank.png": blank, "other.png": encoded(picture(1), "PNG")})
    bodies = [blank, encoded(Image.new("RGB", (64, 64), "black"), "PNG")]
    tables = overlap(tmp_path, Overlap(sets=(f"x={tmp_path / 'eval'}",)), bodies)
    assert details(tables) == ["x/blank.png, 0 bits"]
    assert tables["kept"]["rank"].to_pylist() == [1]


def test_without_sets_all_stay(tmp_path: Path) -> None:
    """A recipe that names no set rejects nothing."""
    tables = overlap(tmp_path, Overlap(), [encoded(picture(number), "PNG") for number in range(3)])
    assert (tables["kept"].num_rows, tables["rejects"].num_rows) == (3, 0)


def test_a_corrupt_evaluation_image_is_counted(tmp_path: Path) -> None:
    """What cannot be decoded is a row with its cause, not an error and not silence."""
    inputs = list_inputs(parse(f"pets={image_folder(tmp_path)}"))
    tables = run_map(HashReferences(), pa.Table.from_pylist(inputs, schema=EVALUATION_INPUTS))
    assert tables["kept"]["item"].to_pylist() == ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.jpg"]
    assert tables["kept"]["label"].to_pylist() == ["cat", "cat", "dog", "dog"]
    (unreadable,) = tables["unreadable"].to_pylist()
    assert (unreadable["item"], unreadable["detail"].split(":")[0]) == ("dog/broken.png", "corrupt_image")


def test_a_wrong_recipe_fails_before_the_fetch(tmp_path: Path) -> None:
    """A set that is not there, or a threshold of no set, is told when the run begins."""
    with pytest.raises(UserError, match="found nothing"):
        Overlap(sets=(f"x={tmp_path / 'none'}",)).inputs()
    with pytest.raises(UserError, match=r"overlap\.thresholds y=3: expected the name of a set \(x\)"):
        Overlap(sets=(f"x={image_folder(tmp_path)}",), thresholds=("y=3",)).inputs()


def test_human_judged_duplicates_of_cifar() -> None:
    """Real data: of 86 pairs that people judged near-duplicates the default finds 41, pHash alone 61 within 10."""
    folder = real_data("neardup", "cifar10-cifair")
    test_tar = real_data("eval", "cifar10", "cifar10-test-10000.tar")
    with (folder / "pairs.csv").open() as file:
        pairs = [row for row in csv.DictReader(file) if row["cifair_judgment"] == "1"]
    prints = {}
    for side, path in (("train_path", folder / "train-side.tar"), ("test_path", test_tar)):
        wanted = {("x", f"{path.name}/{row[side]}") for row in pairs}
        for each in read_items(list_inputs(parse(f"x={path}")), wanted):
            prints[each.item.partition("/")[2]] = fingerprint(each.body)
    left, right = (Prints.concat([prints[row[side]] for row in pairs]) for side in ("train_path", "test_path"))
    assert len(pairs) == 86
    rules = {"phash": copy_rule("phash"), "both": copy_rule(), "published PDQ": Rule("pdq", pdq_radius=31)}
    found = {name: near_matches(left, right, rule) for name, rule in rules.items()}
    counts = {name: int((near.i == near.j).sum()) for name, near in found.items()}
    assert counts == {"phash": 61, "both": 41, "published PDQ": 15}


@pytest.mark.parametrize("content", ["bytes", "pixels"])
def test_contents_are_told_as_the_run_tells_them(tmp_path: Path, content: str) -> None:
    """A blank image, known by its content alone, has the one that `fingerprint` gives it; pixels in any encoding."""
    blank = Image.new("RGB", (64, 64), "grey")
    body = encoded(blank, "PNG", compress_level=9)
    write_images(tmp_path / "eval", {"blank.png": body})
    stage = Recipe(fingerprint=Fingerprint(content=content), overlap=Overlap((f"set={tmp_path / 'eval'}",))).verbs()
    listing, hashing, _ = next(verb for verb in stage if verb.name == "overlap").steps(RunSettings())
    assert isinstance(listing.stage, ListEvaluationInputs)
    assert isinstance(hashing.stage, HashReferences)
    (task,) = listing.stage(str(tmp_path))
    found = Prints.of(run_map(hashing.stage, task, MemoryPart(tmp_path))["kept"]).content[0]
    other = encoded(blank, "PNG", compress_level=0) if content == "pixels" else body
    assert found == fingerprint(other, pixels=content == "pixels").content[0]


def test_hashing_holds_the_bytes_of_one_image_at_a_time(tmp_path: Path) -> None:
    """Sixty images of 2 MiB take the memory of a few: a task has a thousand, and photographs may have megabytes."""
    write_tar(tmp_path / "large.tar", {f"{number}.png": bytes(2 << 20) for number in range(60)})
    (task,) = ListEvaluationInputs((f"large={tmp_path / 'large.tar'}",))(str(tmp_path))
    shard = {"shard": "large.tar", "url": str(tmp_path / "large.tar"), "is_trusted": False}
    shards = pa.Table.from_pylist([shard], schema=TRAINING_INPUTS)
    for stage, rows in ((HashReferences(), task), (HashTraining(), shards)):
        tracemalloc.start()
        try:
            tables = run_map(stage, rows, MemoryPart(tmp_path))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(tables["unreadable"]) == 60
        assert peak < 20 << 20
