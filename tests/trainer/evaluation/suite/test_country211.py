from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.trainer.evaluation.suite.killing import kill_when, read_all
from tests.trainer.evaluation.suite.test_borders import country, square, write_borders
from trainer.evaluation.suite import align, photos, read_names
from trainer.evaluation.suite.cli import evaluate_set
from trainer.evaluation.suite.country211 import SALT
from trainer.evaluation.suite.photos import read_photos
from wit.errors import InputError, MismatchError
from wit.evaluation_sets import EvaluationSet, list_set
from wit.keys import uniform_rank

POSITIONS = {"AD": (1.5, 42.5), "FR": (2.3, 48.9), "LI": (9.5, 47.2), "": (-30.0, 40.0)}


def line(key: str, position: tuple[float, float] | None, kind: str = "0", number: str | None = None) -> str:
    """A line of YFCC100M's list: 23 columns, or 24 with its own number in front."""
    columns = [key, *("x" * 9), *(map(str, position) if position else ("", "")), "16", "page", f"http://i/{key}.jpg"]
    columns += ["licence", "url", "1", "2", "secret", "original", "jpg", kind]
    return "\t".join([*([] if number is None else [number]), *columns]) + "\n"


def photo_list() -> list[str]:
    """40 photos of Andorra, 30 of France, 5 of Liechtenstein, at sea, without a position; two videos; one twice."""
    counts = {"AD": 40, "FR": 30, "LI": 5, "": 3}
    lines = [line(f"{code or 'sea'}{n}", POSITIONS[code]) for code, num in counts.items() for n in range(num)]
    lines += [line(f"lost{n}", None) for n in range(4)] + [line(f"film{n}", POSITIONS["FR"], "1") for n in range(2)]
    return [*lines, line("FR0", POSITIONS["FR"])]


@pytest.fixture
def borders(tmp_path: Path) -> str:
    return write_borders(
        tmp_path / "borders.geojson",
        country("AD", [square(1.4, 42.4, 1.8, 42.7)], name="Andorra"),
        country("FR", [square(-5, 43, 8, 51)], name="France"),
        country("LI", [square(9.4, 47, 9.7, 47.3)], name="Liechtenstein"),
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for text in photo_list():
        key = text.split("\t")[0]
        path = folder / key[:3] / f"{key}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        Image.new("RGB", (9, 7), (len(key), 90, int(key[-1]))).save(file, "JPEG")
        path.write_bytes(file.getvalue())
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate_set, ["country211", *map(str, arguments)])


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "items.csv", newline="") as file:
        return list(csv.DictReader(file))


SMALL = ("--train", 10, "--validation", 3, "--test", 7)


def test_each_country_has_as_many_images_as_any_other(tmp_path: Path, borders: str, images: Path) -> None:
    """Countries with too few are left out, broken images give way to others, and every photo is counted."""
    (tmp_path / "list.tsv").write_text("".join(photo_list()))
    ranked = sorted((f"AD{n}" for n in range(40)), key=lambda key: uniform_rank(SALT, key))
    next(images.rglob(f"{ranked[0]}.jpg")).write_bytes(b"\xff\xd8\xff broken")
    next(images.rglob(f"{ranked[1]}.jpg")).unlink()
    out = tmp_path / "out"
    result = run(tmp_path / "list.tsv", "--borders", borders, "--images", images, "--out", out, *SMALL)
    assert result.exit_code == 0, result.exception
    rows = rows_of(out)
    each = {"train": 10, "validation": 3, "test": 7}
    assert Counter((row["country"], row["split"]) for row in rows) == {
        (code, split): num for code in ("AD", "FR") for split, num in each.items()
    }
    assert [row["key"] for row in rows if row["country"] == "AD"] == ranked[2:22]
    assert all((out / row["file"]).read_bytes() == next(images.rglob(row["key"] + ".jpg")).read_bytes() for row in rows)
    facts = json.loads((out / "manifest.json").read_bytes())
    assert facts["countries"] == ["AD", "FR"]
    assert facts["dropped"] == {
        "corrupt_image": 1,
        "listed_twice": 1,
        "no_country": 3,
        "no_image": 1,
        "no_position": 4,
        "not_needed": 18 + 10,  # 40 and 30 photos without the broken and the missing one, and 20 each
        "too_few_of_the_country": 5,
    }
    assert sum(facts["dropped"].values()) + len(rows) == len(photo_list()) - 2  # without the videos
    assert "40 images of 2 countries (the paper's: 211)" in result.output


def test_what_is_built_is_read(tmp_path: Path, borders: str, images: Path) -> None:
    """It is an evaluation set as any other, and names.txt fits its classes."""
    (tmp_path / "list.tsv").write_text("".join(photo_list()))
    out = tmp_path / "out"
    assert run(tmp_path / "list.tsv", "--borders", borders, "--images", images, "--out", out, *SMALL).exit_code == 0
    listing = list_set(EvaluationSet("country211", str(out)))
    assert (listing.classes, listing.split) == (("AD", "FR"), "test")
    assert align(read_names(str(out / "names.txt")), listing.classes).titles == ("Andorra", "France")


def test_the_draw_is_that_of_any_order(tmp_path: Path, borders: str) -> None:
    """Lists in another order, packed, or with the lines' own numbers give the same photos; no image is needed."""
    lines = photo_list()
    numbered = [f"{number}\t{text}" for number, text in enumerate(lines)]
    forms = {"a.tsv": "".join(lines).encode(), "b.bz2": bz2.compress("".join(numbered).encode())}
    forms["c.gz"] = gzip.compress("".join(lines[::-1]).encode())
    drawn = []
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        out = tmp_path / f"out-{name}"
        assert run(tmp_path / name, "--borders", borders, "--out", out, *SMALL).exit_code == 0
        drawn.append((out / "items.csv").read_bytes())
        assert not (out / "train").exists()
    assert drawn[0] == drawn[1] == drawn[2]
    larger = tmp_path / "larger"
    run(tmp_path / "a.tsv", "--borders", borders, "--out", larger, "--train", 13, "--validation", 3, "--test", 7)
    assert {row["key"] for row in rows_of(tmp_path / "out-a.tsv")} <= {row["key"] for row in rows_of(larger)}


def test_a_list_may_say_the_countries(tmp_path: Path) -> None:
    """Then no borders are needed; what is no code of two letters is no country, and no folder either."""
    keys = [f"p{n}" for n in range(9)]
    table = pa.table({"key": keys, "country": ["NP"] * 4 + ["../x"] * 4 + [None], "url": keys})
    pq.write_table(table, tmp_path / "photos.parquet")
    out = tmp_path / "out"
    result = run(tmp_path / "photos.parquet", "--out", out, "--train", 2, "--validation", 1, "--test", 1)
    assert result.exit_code == 0, result.exception
    assert {row["country"] for row in rows_of(out)} == {"NP"}
    assert json.loads((out / "manifest.json").read_bytes())["dropped"] == {"no_country": 5}


def test_a_killed_build_goes_on(tmp_path: Path, borders: str, images: Path) -> None:
    """After a kill -9 the same command ends with the bytes of one that was never killed; what was copied stays."""
    keys = [f"AD{n}" for n in range(300)]
    (tmp_path / "list.tsv").write_text("".join(line(key, POSITIONS["AD"]) for key in keys))
    body = next(images.rglob("AD0.jpg")).read_bytes()
    for key in keys:
        (images / f"{key}.jpg").write_bytes(body)
    ranked = sorted(keys, key=lambda key: uniform_rank(SALT, key))
    (images / f"{ranked[0]}.jpg").write_bytes(b"\xff\xd8\xff broken")
    arguments = (tmp_path / "list.tsv", "--borders", borders, "--images", images, "--train", 250, "--out")
    out = tmp_path / "out"
    command = ("evaluate-set", "country211", *map(str, arguments[:-1]), "--validation", "5", "--test", "5", "--out")
    kill_when(command, out,
              lambda: len(list(out.rglob("[!.]*.jpg"))) > 5)  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.jpg")}
    assert 5 < len(before) < 260
    small = ("--validation", 5, "--test", 5)
    assert run(*arguments, out, *small).exit_code == 0
    assert run(*arguments, tmp_path / "whole", *small).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_all(out) == read_all(tmp_path / "whole")
    error = run(*arguments, out, "--validation", 5, "--test", 6).exception
    assert isinstance(error, MismatchError)
    assert "made_from.quotas" in str(error)


def test_a_list_is_gone_through_once(tmp_path: Path, borders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drawn is kept: the same command draws no second time, another quota does."""
    (tmp_path / "list.tsv").write_text("".join(photo_list()))
    arguments = (tmp_path / "list.tsv", "--borders", borders, "--out", tmp_path / "out")
    assert run(*arguments, *SMALL).exit_code == 0
    first = (tmp_path / "out/items.csv").read_bytes()
    monkeypatch.setattr(photos, "_row", lambda *_: pytest.fail("the list was read again"))
    assert run(*arguments, *SMALL).exit_code == 0
    assert (tmp_path / "out/items.csv").read_bytes() == first
    monkeypatch.undo()
    begun = tmp_path / "begun"
    assert run(*arguments[:-1], begun).exit_code != 0, "no country has 300 photos"
    assert run(*arguments[:-1], begun, *SMALL).exit_code == 0
    assert (begun / "items.csv").read_bytes() == first


def test_mistakes_are_said(tmp_path: Path, borders: str) -> None:
    """A folder in use, no borders, too few photos, another list, a file that breaks off."""
    path = tmp_path / "list.tsv"
    path.write_text("".join(photo_list()))
    used = tmp_path / "used"
    used.mkdir()
    (used / "a.txt").write_text("")
    assert isinstance(run(path, "--borders", borders, "--out", used, *SMALL).exception, MismatchError)
    for arguments, message in [
        ((path, "--out", tmp_path / "o"), "expected --borders"),
        ((path, "--borders", borders, "--out", tmp_path / "o"), "expected countries with 300 photos, found none"),
    ]:
        error = run(*arguments).exception
        assert isinstance(error, InputError)
        assert message in str(error)
    (tmp_path / "short.tsv").write_text("a\tb\n")
    with pytest.raises(InputError, match=r"short.tsv, line 1: expected YFCC100M's 23 or 24 columns, found 2"):
        list(read_photos(str(tmp_path / "short.tsv")))
    for name, data in [("x.gz", gzip.compress(b"x" * 99)[:-5]), ("x.bz2", bz2.compress(b"x" * 99)[:-5])]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="breaks off behind line 0"):
            list(read_photos(str(tmp_path / name)))
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="expected columns key, and longitude"):
        list(read_photos(str(tmp_path / "p.parquet")))
