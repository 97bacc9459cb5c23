"""Each image gets its print, and those of its turns, whatever tar it lies in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.stages.fingerprint import Fingerprint
from pipelines.stages.verb import RunSettings
from tests.support import read_parts, run_steps, write_part
from wit.fingerprint import TURN_OPTIONS, fingerprint
from wit.image import Limits, prepare
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import FINGERPRINTS, IMAGES, PRINTS, TURNED

NUM_BUCKETS = 3


def photograph(seed: int) -> bytes:
    """A smooth random colour picture of its own size, as the web has it."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    kind = "PNG" if seed % 3 == 0 else "JPEG"
    Image.fromarray(small).resize((90 + seed, 70), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def write_images(root: Path, count: int) -> dict[str, bytes]:
    """Write filter_image/kept by place, its tars beside; return the stored images by key."""
    rows: list[list[dict[str, object]]] = [[], []]
    tars, stored_of = [b"", b""], {}
    for number in range(count):
        key = sample_key(f"http://example.org/{number}", "a picture")
        stored = prepare(photograph(number), Limits())
        place = number % 2
        row = {name: getattr(stored, name) for name in IMAGES.names if hasattr(stored, name)}
        row |= {"key": key, "bucket": key_bucket(key, NUM_BUCKETS), "rank": uniform_rank("wit", key), "final_url": ""}
        row |= {"blob": f"fetch/blobs/part-0000{place}.tar", "offset": len(tars[place]), "length": len(stored.body)}
        tars[place] += stored.body
        rows[place].append(row)
        stored_of[key] = stored.body
    for place in (0, 1):
        blob = root / f"fetch/blobs/part-0000{place}.tar"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(tars[place])
        write_part(root, "filter_image/kept", place, pa.Table.from_pylist(rows[place], schema=IMAGES))
    return stored_of


def prints_of(row: dict[str, object]) -> list[object]:
    return [row[field.name] for field in PRINTS]


@pytest.mark.parametrize("stage", [Fingerprint(), Fingerprint(exact=True, content="pixels")], ids=["fast", "exact"])
def test_each_image_gets_its_print(tmp_path: Path, stage: Fingerprint) -> None:
    """A row an image, in its bucket and by key, with the size of the original; no table of turns."""
    bodies = write_images(tmp_path, 11)
    run_steps(stage.steps(RunSettings(NUM_BUCKETS)), tmp_path, NUM_BUCKETS)
    kept = read_parts(tmp_path, "fingerprint/kept")
    assert kept.schema.equals(FINGERPRINTS)
    rows = kept.to_pylist()
    assert [row["key"] for row in rows] == sorted(bodies)
    for row in rows:
        expected = fingerprint(bodies[row["key"]], exact=stage.exact, pixels=stage.content == "pixels").columns()
        assert prints_of(row) == [expected[field.name][0].as_py() for field in PRINTS]
        assert row["num_pixels"] in {(90 + number) * 70 for number in range(11)}
    assert not (tmp_path / "fingerprint/turned").exists()


@pytest.mark.parametrize("turns", ["mirror", "all"])
def test_turns_are_a_second_table(tmp_path: Path, turns: str) -> None:
    """The table of prints is the same; beside it is a row for each other turn, by key and turn."""
    bodies = write_images(tmp_path / "turned", 7)
    write_images(tmp_path / "plain", 7)
    run_steps(Fingerprint(turns=turns).steps(RunSettings(NUM_BUCKETS)), tmp_path / "turned", NUM_BUCKETS)
    run_steps(Fingerprint().steps(RunSettings(NUM_BUCKETS)), tmp_path / "plain", NUM_BUCKETS)
    kept = [read_parts(tmp_path / name, "fingerprint/kept") for name in ("turned", "plain")]
    assert kept[0].equals(kept[1])
    turned = read_parts(tmp_path / "turned", "fingerprint/turned")
    assert turned.schema.equals(TURNED)
    others = TURN_OPTIONS[turns][1:]
    rows = turned.to_pylist()
    assert [(row["key"], row["turn"]) for row in rows] == [(key, turn) for key in sorted(bodies) for turn in others]
    for row in rows:
        expected = fingerprint(bodies[row["key"]], turns=(row["turn"],)).columns()
        assert prints_of(row) == [expected[field.name][0].as_py() for field in PRINTS]
