"""Evaluation images are kept out, whatever they were re-encoded as, and the reject says which."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.sources.evaluation_sets import list_inputs, parse, read_images
from pipelines.stages.overlap import HashReferences, ListEvaluationInputs, Overlap
from tests.support import MemoryPart, prints_row, real_data, run_map
from wit.fingerprint import phash_stored
from wit.image import Limits, prepare
from wit.keys import sample_key
from wit.schema import EVALUATION_INPUTS, FINGERPRINTS
from wit.storage import join, write_parquet


def picture(seed: int, side: int = 96) -> Image.Image:
    """A smooth random colour picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_folder(folder: Path) -> Path:
    """Two classes of two images, one corrupt image, and a file that is none."""
    for number, name in enumerate(["cat/0.png", "cat/1.png", "dog/2.jpg", "dog/3.png"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number), "JPEG" if name.endswith("jpg") else "PNG"))
    (folder / "dog" / "broken.png").write_bytes(encoded(picture(9), "PNG")[:200])
    (folder / "labels.txt").write_text("cat dog")
    return folder


def overlap(root: Path, stage: Overlap, hashes: list[int]) -> dict[str, pa.Table]:
    """Run the stage's three steps over images with these hashes."""
    for index, task in enumerate(ListEvaluationInputs(stage.sets)(str(root))):
        for name, table in run_map(HashReferences(), task, MemoryPart(root)).items():
            write_parquet(join(str(root), "overlap/references", name, f"part-{index:05d}.parquet"), table)
    rows = [
        {"key": sample_key(str(n), ""), "bucket": 0, "rank": n, "num_pixels": 1, **prints_row(value)}
        for n, value in enumerate(hashes)
    ]
    return run_map(stage, pa.Table.from_pylist(rows, schema=FINGERPRINTS), MemoryPart(root))


def stored_hash(body: bytes) -> int:
    return phash_stored(prepare(body, Limits(side_px=64)).body)


def test_copies_and_edits_are_rejected(tmp_path: Path) -> None:
    """An exact copy, a re-encoded and a resized one are rejected with set, item and distance; another picture stays."""
    folder = image_folder(tmp_path / "eval")
    exact = stored_hash((folder / "dog/2.jpg").read_bytes())
    edited = stored_hash(encoded(picture(0).resize((80, 80)), "JPEG", quality=60))
    other = stored_hash(encoded(picture(77), "PNG"))
    tables = overlap(tmp_path, Overlap(sets=(f"pets={folder}",)), [exact, other, edited])
    assert tables["kept"]["rank"].to_pylist() == [1]
    first, second = tables["rejects"].to_pylist()
    assert (first["stage"], first["reason"]) == ("overlap", "test_overlap")
    assert first["detail"].startswith("pets/dog/2.jpg, ")
    assert second["detail"].startswith("pets/cat/0.png, ")


def test_the_nearest_reference_is_named_and_ties_go_by_name(tmp_path: Path) -> None:
    """Of two sets that hold the same image the first by name is named, and a nearer image before a farther one."""
    folder = image_folder(tmp_path / "eval")
    value = phash_stored(prepare((folder / "cat/0.png").read_bytes(), Limits()).body)
    tables = overlap(tmp_path, Overlap(sets=(f"zoo={folder}", f"ark={folder}")), [value, value ^ 0b101, value ^ 0b1111])
    details = tables["rejects"]["detail"].to_pylist()
    assert details == ["ark/cat/0.png, 0 bits", "ark/cat/0.png, 2 bits"]
    assert tables["kept"]["rank"].to_pylist() == [2]


def test_without_sets_all_stay(tmp_path: Path) -> None:
    """A recipe that names no set rejects nothing."""
    tables = overlap(tmp_path, Overlap(), [1, 2, 3])
    assert (tables["kept"].num_rows, tables["rejects"].num_rows) == (3, 0)


def test_a_corrupt_evaluation_image_is_counted(tmp_path: Path) -> None:
    """What cannot be decoded is a row with its cause, not an error and not silence."""
    inputs = list_inputs(parse(f"pets={image_folder(tmp_path)}"))
    tables = run_map(HashReferences(), pa.Table.from_pylist(inputs, schema=EVALUATION_INPUTS))
    assert tables["kept"]["item"].to_pylist() == ["cat/0.png", "cat/1.png", "dog/2.jpg", "dog/3.png"]
    (unreadable,) = tables["unreadable"].to_pylist()
    assert (unreadable["item"], unreadable["detail"].split(":")[0]) == ("dog/broken.png", "corrupt_image")


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_gives_the_same_hashes_as_its_folder(tmp_path: Path, tar_format: int) -> None:
    """A WebDataset tar in any dialect, long names included, holds the same images as the folder it was made of."""
    folder = image_folder(tmp_path / "eval")
    long = folder / "dog" / ("very-" * 20 + "long") / "name.png"
    long.parent.mkdir()
    long.write_bytes(encoded(picture(5), "PNG"))
    with tarfile.open(tmp_path / "eval.tar", "w", format=tar_format) as archive:
        archive.add(folder, arcname=".")

    def hashes(path: Path) -> dict[str, int]:
        inputs = pa.Table.from_pylist(list_inputs(parse(f"x={path}")), schema=EVALUATION_INPUTS)
        kept = run_map(HashReferences(), inputs)["kept"]
        return dict(zip(kept["item"].to_pylist(), kept["phash"].to_pylist(), strict=True))

    in_tar = {item.removeprefix("eval.tar/./"): value for item, value in hashes(tmp_path / "eval.tar").items()}
    assert in_tar == hashes(folder)
    assert len(in_tar) == 5


def test_human_judged_duplicates_of_cifar() -> None:
    """Real data: of 86 pairs that people judged near-duplicates, pHash finds 11 within 3 bits and 61 within 10."""
    folder = real_data("neardup", "cifar10-cifair")
    test_tar = real_data("eval", "cifar10", "cifar10-test-10000.tar")
    with (folder / "pairs.csv").open() as file:
        pairs = [row for row in csv.DictReader(file) if row["cifair_judgment"] == "1"]
    wanted = {row[side] for row in pairs for side in ("train_path", "test_path")}
    hashes = {}
    for path in (folder / "train-side.tar", test_tar):
        for _, item, body in read_images(list_inputs(parse(f"x={path}"))):
            member = item.partition("/")[2]
            if member in wanted:
                hashes[member] = phash_stored(prepare(body, Limits()).body)
    distances = [(hashes[row["train_path"]] ^ hashes[row["test_path"]]).bit_count() for row in pairs]
    assert len(distances) == 86
    assert sum(distance <= 3 for distance in distances) == 11
    assert sum(distance <= 10 for distance in distances) == 61
