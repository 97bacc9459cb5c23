"""The audit finds planted copies, says how sure it is, and its page is safe to open."""

from __future__ import annotations

import io
import json
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.audit import Audit, Contamination, format_table, run_audit
from pipelines.report.overlap_report import Pair, render
from wit.cli import main
from wit.errors import InputError, UserError
from wit.statistics import clopper_pearson
from wit.storage import read_parquet

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' <img src=x onerror=y>"


def picture(seed: int) -> Image.Image:
    """A smooth random colour picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_tar(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two foreign shards with 12 copies of image 100, an edit of 101, a corrupt image; two sets that hold some."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "shards").mkdir()
    first: dict[str, bytes] = {}
    for number in range(20):
        seed = 100 if number < 12 else number
        first[f"{number:04d}.jpg"] = encoded(picture(seed), "JPEG", quality=80)
        first[f"{number:04d}.json"] = json.dumps({"url": f"http://example.org/{number}"}).encode()
        first[f"{number:04d}.txt"] = HOSTILE.encode()
    write_tar(folder / "shards" / "00000.tar", first)
    edit = encoded(picture(101).resize((150, 140)), "WEBP", quality=70)
    second = {"0100.webp": edit, "0101.png": encoded(picture(7), "PNG")[:100], "0102.png": encoded(picture(55), "PNG")}
    write_tar(folder / "shards" / "00001.tar", second)
    for number in range(100, 105):
        path = folder / "pets" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number), "PNG"))
    (folder / "pets" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_tar(folder / "others.tar", {"0.png": encoded(picture(200), "PNG"), "1.png": encoded(picture(55), "PNG")})
    return folder


def audit(world: Path, out: Path, processes: int) -> list[Contamination]:
    sets = (f"pets={world / 'pets'}", f"others={world / 'others.tar'}")
    return run_audit(Audit(str(world / "shards"), sets), str(out), processes)


def test_planted_copies_are_found(world: Path, tmp_path: Path) -> None:
    """Per set: what overlaps, what could not be read; per item its nearest samples, ten at most, by key."""
    found = audit(world, tmp_path, 2)
    assert found == [Contamination("others", 2, 1, 0), Contamination("pets", 5, 2, 1)]
    assert found[1].share == 0.4
    assert found[1].interval == clopper_pearson(2, 5, 0.995)
    matches = read_parquet(str(tmp_path / "matches.parquet")).to_pylist()
    assert [(row["item"], row["key"]) for row in matches if row["set"] == "others"] == [("others.tar/1.png", "0102")]
    hot = [row for row in matches if row["item"] == "cat/100.png"]
    assert [row["key"] for row in hot] == [f"{number:04d}" for number in range(10)]
    (edit,) = [row for row in matches if row["item"] == "cat/101.png"]
    assert (edit["key"], edit["shard"]) == ("0100", "00001.tar")
    unreadable = read_parquet(str(tmp_path / "unreadable.parquet")).to_pylist()
    assert [row["item"] for row in unreadable] == ["cat/broken.png", "00001.tar/0101.png"]


def test_the_files_depend_on_the_inputs_alone(world: Path, tmp_path: Path) -> None:
    """More processes, or a folder where an audit was killed, give the same bytes; nothing else stays behind."""
    audit(world, tmp_path / "a", 2)
    (tmp_path / "b" / ".tmp-audit" / "training").mkdir(parents=True)  # what a killed audit leaves
    audit(world, tmp_path / "b", 1)
    names = ["matches.parquet", "report.html", "unreadable.parquet"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


class Collector(HTMLParser):
    """What a browser would make of a page: its tags, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_escapes_all_that_came_from_the_web() -> None:
    """Hostile captions, URLs, names and paths are text, never markup; pictures are inline and nothing is loaded."""
    pair = Pair(
        HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, "data:image/png;base64,AA==", "data:image/png;base64,AA=="
    )
    page = Collector()
    page.feed(render(HOSTILE, 3, [Contamination(HOSTILE, 5, 1, 0)], {HOSTILE: [pair]}))
    assert page.text.count(HOSTILE) == 8
    assert [tag for tag, _ in page.tags if tag == "script"] == []
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    assert all(str(attributes["src"]).startswith("data:") and "onerror" not in attributes for attributes in images)
    assert not any({"href", "onload", "onerror"} & attributes.keys() for _, attributes in page.tags)


def test_the_table_says_what_was_measured() -> None:
    """One aligned line a set, with share and interval in percent."""
    table = format_table([Contamination("a", 1000, 3, 0), Contamination("longer", 5, 0, 12)])
    header, first, second = table.splitlines()
    assert first.split() == ["a", "1,000", "3", "0.30%", "0.03%", "to", "1.18%", "0"]
    assert second.split()[-1] == "12"
    assert len(header) == len(first) == len(second)


def test_mistakes_are_one_clear_error(world: Path, tmp_path: Path) -> None:
    """A malformed set, a missing set, missing shards and a set without images are each a UserError."""
    with pytest.raises(UserError, match="NAME=PATH"):
        run_audit(Audit(str(world / "shards"), ("pets",)), str(tmp_path), 1)
    with pytest.raises(InputError, match="found nothing"):
        run_audit(Audit(str(world / "shards"), (f"x={world / 'none'}",)), str(tmp_path), 1)
    with pytest.raises(InputError, match="expected shards"):
        run_audit(Audit(str(tmp_path), (f"x={world / 'pets'}",)), str(tmp_path), 1)
    write_tar(tmp_path / "empty.tar", {"readme.txt": b""})
    with pytest.raises(InputError, match="expected images"):
        run_audit(Audit(str(world / "shards"), (f"x={tmp_path / 'empty.tar'}",)), str(tmp_path), 1)


def test_wit_overlap(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the table and exits 0."""
    pets = f"pets={world / 'pets'}"
    command = ["overlap", str(world / "shards"), "--against", pets, "--out", str(tmp_path), "--processes", "1"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["pets", "5", "2"]


def test_wit_shards_verify(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command tells problems, sums them up, and exits 1."""
    with pytest.raises(SystemExit) as ended:
        main(["shards", "verify", str(world / "shards"), "--processes", "1"])
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "2 shards, 0 samples, 3 problems"


@pytest.mark.parametrize(
    "wrong", [["overlap", "{shards}", "--against", "x", "--out", "y"], ["shards", "verify", "{shards}/none"]]
)
def test_wrong_commands_exit_2(world: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    """A mistake is one line and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([word.format(shards=world / "shards") for word in wrong])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
