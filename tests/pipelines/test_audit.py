"""The audit finds planted copies, says how sure it is, goes on where it was killed, and tells mistakes in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.asking import Audit
from pipelines.audit.engine import run_audit, run_calibration
from pipelines.audit.methods import ByHashes
from pipelines.audit.outputs import format_table
from pipelines.audit.training import HashTraining, read_shard, training_inputs
from pipelines.report.overlap.results import AuditResult
from pipelines.shardset.indexing import index_tars
from tests.pipelines.audited import HOSTILE, encoded, make_world, picture, write_images, write_tar
from tests.support import run_map
from wit.cli import main
from wit.errors import InputError, StageError, UserError
from wit.near import copy_rule
from wit.schema.evaluation import TRAINING_INPUTS
from wit.shards import write_manifest
from wit.statistics import clopper_pearson
from wit.storage import read_parquet

TABLES = ("sets.parquet", "items.parquet", "matches.parquet", "samples.parquet", "unreadable.parquet")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See make_world."""
    return make_world(tmp_path_factory.mktemp("world"))


def asked(world: Path, **more: Any) -> Audit:
    return Audit(str(world / "shards"), (f"pets={world / 'pets'}", f"others={world / 'others.tar'}"), **more)


@pytest.fixture(scope="module")
def audited(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditResult]:
    """The world's audit with one process."""
    out = tmp_path_factory.mktemp("audited")
    return out, run_audit(asked(world), str(out), 1)


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_parquet(str(out / name)).to_pylist()
    return found


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_planted_copies_are_found(audited: tuple[Path, AuditResult]) -> None:
    """Per set what overlaps, what could not be read and what is blank; a blank one overlaps by its content alone."""
    others, pets = (each.contamination for each in audited[1].sets)
    assert (others.num_items, others.num_overlap, others.num_unreadable, others.num_blank) == (4, 2, 0, 2)
    assert (pets.num_items, pets.num_overlap, pets.num_unreadable, pets.num_blank) == (5, 2, 1, 0)
    assert pets.interval == clopper_pearson(2, 5, 0.995)
    assert (audited[1].num_samples, audited[1].num_unreadable_samples) == (24, 1)


def test_each_item_has_its_nearest_samples(audited: tuple[Path, AuditResult]) -> None:
    """Ten at most, of copies as near the earlier; with label, caption and URL, as they came."""
    matches = rows(audited[0], "matches.parquet")
    hot = [row for row in matches if row["item"] == "cat/100.png"]
    assert [row["key"] for row in hot] == [f"{number:04d}" for number in range(10)]
    assert {(row["label"], row["caption"]) for row in hot} == {("cat", HOSTILE)}
    assert hot[3]["url"] == "http://example.org/3"
    (edit,) = [row for row in matches if row["item"] == "dog/101.png"]
    assert (edit["key"], edit["shard"], edit["caption"], edit["turn"]) == ("0100", "00001.tar", None, "none")
    assert 0 < edit["distance"] <= 60


def test_every_item_is_in_one_split(audited: tuple[Path, AuditResult]) -> None:
    """items.parquet has every image of the sets once, and agrees with the figures."""
    items = rows(audited[0], "items.parquet")
    splits = {(row["set"], row["item"]): row["split"] for row in items}
    assert len(splits) == len(items) == 10
    assert splits["pets", "cat/broken.png"] == "unreadable"
    assert [name for (_, name), split in splits.items() if split == "overlap"] == [
        "others.tar/1.png", "others.tar/2.png", "cat/100.png", "dog/101.png",
    ]  # fmt: skip
    assert [row["item"] for row in items if row["is_blank"]] == ["others.tar/2.png", "others.tar/3.png"]
    (others, pets) = rows(audited[0], "sets.parquet")
    assert (others["num_overlap"], others["num_clean"], pets["contamination"]) == (2, 2, 0.4)


def test_every_matching_sample_is_listed_for_removal(audited: tuple[Path, AuditResult]) -> None:
    """All twelve copies, not only the ten nearest; the unreadable of both sides are rows of their own."""
    samples = rows(audited[0], "samples.parquet")
    assert [row["key"] for row in samples] == [*(f"{number:04d}" for number in range(12)), "0100", "0102", "0103"]
    assert [(row["set"], row["item"]) for row in rows(audited[0], "unreadable.parquet")] == [
        ("pets", "cat/broken.png"), (None, "00001.tar/0101"),
    ]  # fmt: skip


def test_the_audit_says_what_it_was_made_from(audited: tuple[Path, AuditResult]) -> None:
    """audit.json: rule, thresholds, formats, counts and digests; no time, no host."""
    made = json.loads((audited[0] / "audit.json").read_text())
    assert made["rule"] == {"hash": "both", "phash_radius": 12, "pdq_radius": 60, "min_quality": 50, "turns": "none"}
    assert [(each["set"], each["format"], each["threshold"]) for each in made["sets"]] == [
        ("others", "webdataset", 60), ("pets", "folder", 60),
    ]  # fmt: skip
    assert (made["shards"]["num_samples"], made["shards"]["num_from_index"]) == (24, 0)
    assert all(len(each["content_sha256"]) == 64 for each in (*made["sets"], made["shards"]))


def test_the_files_depend_on_the_inputs_alone(world: Path, audited: tuple[Path, AuditResult], tmp_path: Path) -> None:
    """More processes, and other names of the sets' order, give the same bytes; nothing else stays behind."""
    (tmp_path / ".tmp-audit" / "training").mkdir(parents=True)  # what a killed audit of something else leaves
    again = Audit(str(world / "shards"), (f"others={world / 'others.tar'}", f"pets={world / 'pets'}"))
    run_audit(again, str(tmp_path), 2)
    assert files(tmp_path) == files(audited[0])
    assert {*TABLES, "audit.json", "report.html"} <= set(files(tmp_path))


def test_a_killed_audit_goes_on(
    world: Path, audited: tuple[Path, AuditResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was hashed before a kill is not hashed again; the bytes are those of an audit that was left alone."""
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.audit.engine.write_tables", _die)
        with pytest.raises(KeyboardInterrupt):
            run_audit(asked(world), str(out), 1)
    kept = {path: path.stat().st_mtime_ns for path in (out / ".tmp-audit").rglob("part-*.parquet")}
    assert kept
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.audit.engine.finish", lambda work: None)
        run_audit(asked(world), str(out), 1)
    assert {path: path.stat().st_mtime_ns for path in (out / ".tmp-audit").rglob("part-*.parquet")} == kept
    run_audit(asked(world), str(out), 1)
    assert files(out) == files(audited[0])


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_changed_file_is_hashed_again(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set or shard that changed after a kill is not taken for what it was."""
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(world, copy)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.audit.engine.write_tables", _die)
        with pytest.raises(KeyboardInterrupt):
            run_audit(asked(copy), str(out), 1)
    write_images(copy / "pets", {"cat/102.png": encoded(picture(15), "PNG")})
    pets = run_audit(asked(copy), str(out), 1).sets[1].contamination
    assert pets.num_overlap == 3


def test_a_changed_file_is_shown_as_it_is_now(world: Path, tmp_path: Path) -> None:
    """What an earlier command has left shows no image as it was, where the same pairs match as before."""
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    run_calibration(asked(copy), str(tmp_path / "used"), 1, "wit overlap x")
    darker = picture(100).point(lambda level: level * 0.8)
    write_images(copy / "pets", {"cat/100.png": encoded(darker, "PNG")})
    for out in ("used", "new"):
        run_calibration(asked(copy), str(tmp_path / out), 1, "wit overlap x")
    pages = [(tmp_path / out / "calibrate.html").read_bytes() for out in ("used", "new")]
    assert pages[0] == pages[1]


def test_blank_sets_are_told(world: Path, tmp_path: Path) -> None:
    """Where hashes miss much of a set the audit says so, and --min-quality 0 compares it by them after all."""
    told: list[str] = []
    run_audit(asked(world), str(tmp_path / "a"), 1, told.append)
    (line,) = (line for line in told if "--min-quality 0" in line)
    assert line.startswith("others: 2 of 4 images have a quality below 50 and are compared by content alone")
    result = run_audit(asked(world, method=ByHashes(copy_rule(min_quality=0))), str(tmp_path / "b"), 1)
    assert [each.contamination.num_overlap for each in result.sets] == [3, 2]
    assert [each.contamination.num_blank for each in result.sets] == [0, 0]


def test_thresholds_and_turns(world: Path, tmp_path: Path) -> None:
    """A set's own threshold leaves out its edit; with turns a mirrored copy is found, and told as such."""
    result = run_audit(asked(world, thresholds=("pets=2", "20"), turns="mirror"), str(tmp_path), 1)
    assert [each.contamination.threshold for each in result.sets] == [20, 2]
    matches = rows(tmp_path, "matches.parquet")
    assert [row["turn"] for row in matches if row["item"] == "dog/mirror.png"] == ["mirror"]
    assert not [row for row in matches if row["item"] == "dog/101.png"]
    assert "as each set says" in result.rule


def test_predictions_give_accuracies(world: Path, tmp_path: Path) -> None:
    """Given a model's predictions, the accuracy of each split; the figure is written."""
    lines = ["item,correct", "cat/100.png,1", "cat/102.png,0", "cat/103.png,1", "dog/101.png,1", "dog/mirror.png,0"]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    result = run_audit(asked(world, predictions=(f"pets={tmp_path / 'p.csv'}",)), str(tmp_path / "out"), 1)
    accuracies = result.sets[1].accuracies
    assert accuracies is not None
    assert (accuracies.num_overlap, accuracies.correct_overlap, accuracies.num_clean, accuracies.correct_clean) == (
        2,
        2,
        3,
        1,
    )
    assert rows(tmp_path / "out", "sets.parquet")[1]["accuracy_overlap"] == 1.0
    assert (tmp_path / "out" / "figure.svg").exists()
    header, others, pets = format_table(result).splitlines()
    assert header.split()[-1] == "significant"
    assert len(others) == len(pets)


def test_prints_in_an_index_count_while_it_stands(world: Path, tmp_path: Path) -> None:
    """Where the manifest states the files' sizes the prints of the index count, else the pixels; both find the same."""
    shards, out = tmp_path / "shards", tmp_path / "out"
    shutil.copytree(world / "shards", shards)
    index_tars(str(shards), None, 1, with_prints=True)
    audit = Audit(str(shards), (f"others={world / 'others.tar'}", f"pets={world / 'pets'}"))

    def compare(audit: Audit) -> tuple[int, list[int]]:
        result = run_audit(audit, str(out), 1)
        num_from_index = json.loads((out / "audit.json").read_text())["shards"]["num_from_index"]
        return num_from_index, [each.contamination.num_overlap for each in result.sets]

    assert compare(audit) == (24, [2, 2])
    assert compare(replace(audit, trust=False)) == (0, [2, 2])
    with (shards / "00000.index.parquet").open("ab") as index:
        index.write(b"x")  # it is not what the manifest describes any more
    assert compare(audit) == (4, [2, 2])


def test_contents_are_those_of_the_bytes(world: Path, tmp_path: Path) -> None:
    """An index may have the contents of pixels, as a run can ask for: an audit compares those of the bytes."""
    shards = tmp_path / "shards"
    shutil.copytree(world / "shards", shards)
    index_tars(str(shards), None, 1, with_prints=True)
    tars = [str(path) for path in sorted(shards.glob("*.tar"))]

    def contents() -> list[int]:
        inputs = pa.Table.from_pylist(training_inputs(tars, trust=True), schema=TRAINING_INPUTS)
        found = run_map(HashTraining(), inputs)
        assert sum(found["read"]["num_from_index"].to_pylist()) == len(found["kept"])
        return found["kept"]["content"].to_pylist()

    expected = contents()
    for path in shards.glob("*.index.parquet"):
        table = pq.read_table(path)
        others = pa.array(range(len(table)), pa.int64())
        pq.write_table(table.set_column(table.column_names.index("content"), table.field("content"), others), path)
    index_tars(str(shards), None, 1, with_prints=True)  # the manifest states the new sizes
    assert contents() == expected


def test_the_keys_of_an_index_are_told(tmp_path: Path) -> None:
    """Two tars with the same stems: their index says TAR/STEM, and so does the audit, so that removal finds them."""
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / "shards" / name, {"0.png": encoded(picture(1), "PNG")})
    assert [each.key for each in read_shard(str(tmp_path / "shards/a.tar"))] == ["0"]
    index_tars(str(tmp_path / "shards"), None, 1)
    assert [each.key for each in read_shard(str(tmp_path / "shards/a.tar"))] == ["a/0"]


def test_samples_of_any_webdataset(tmp_path: Path) -> None:
    """Captions from .caption or a field of JSON, URLs of other tools, stems that come again, samples without images."""
    one = encoded(picture(1), "PNG")
    contents = {
        "0.png": one, "0.json": b'{"URL": "http://x", "TEXT": "from json"}',
        "1.json": b"{}", "2.PNG": one, "2.caption": "gr\u00fc\u00dfe".encode(), "3.json": b"no json", "3.jpg": one,
    }  # fmt: skip
    write_tar(tmp_path / "x.tar", contents)
    found = list(read_shard(str(tmp_path / "x.tar"), {"0", "2", "3"}))
    assert [(each.key, each.caption, each.url) for each in found] == [
        ("0", "from json", "http://x"), ("2", "gr\u00fc\u00dfe", None), ("3", None, None),
    ]  # fmt: skip


def test_calibration_writes_a_page_and_keeps_the_hashes(world: Path, tmp_path: Path) -> None:
    """The page, wider than the thresholds; the audit after it hashes nothing again."""
    found = run_calibration(asked(world), str(tmp_path), 1, "wit overlap x")
    assert [(each.set, each.threshold, each.searched) for each in found.sets] == [("others", 60, 90), ("pets", 60, 90)]
    assert (tmp_path / "calibrate.html").exists()
    hashed = {path.name for path in (tmp_path / ".tmp-audit" / "training").iterdir()}
    run_calibration(asked(world, thresholds=("5",)), str(tmp_path), 1, "wit overlap x")
    assert {path.name for path in (tmp_path / ".tmp-audit" / "training").iterdir()} == hashed
    run_audit(asked(world, thresholds=("5",)), str(tmp_path), 1)
    assert not (tmp_path / ".tmp-audit").exists()


@pytest.mark.parametrize(("hash_name", "most"), [("phash", 10), ("pdq", 60)])
def test_one_hash_alone(world: Path, tmp_path: Path, hash_name: str, most: int) -> None:
    """By either hash the planted copies are found, at distances in its bits."""
    method = ByHashes(copy_rule(hash_name))  # type: ignore[arg-type]
    result = run_audit(asked(world, method=method), str(tmp_path), 1)
    assert [each.contamination.num_overlap for each in result.sets] == [2, 2]
    assert max(row["distance"] for row in rows(tmp_path, "matches.parquet")) <= most


def test_mistakes_are_one_clear_error(world: Path, tmp_path: Path) -> None:
    """A malformed set, a missing one, no shards, a set without an image, other sets' predictions: each a UserError."""
    shards, pets = str(world / "shards"), f"pets={world / 'pets'}"
    write_images(tmp_path / "corrupt", {"a.png": b"\x89PNG\r\n\x1a\n", "b.png": b"not"})
    wrong = [
        (Audit(shards, ("pets",)), "NAME=PATH"),
        (Audit(shards, (pets, pets)), "two evaluation sets are named 'pets'"),
        (Audit(shards, (f"x={world / 'none'}",)), "found nothing"),
        (Audit(str(tmp_path), (pets,)), "expected shards"),
        (Audit(shards, (f"x={tmp_path / 'corrupt'}",)), "none that can be decoded: 2 cannot, the first a.png"),
        (Audit(shards, (pets,), thresholds=("cats=3",)), "expected the name of a set"),
        (Audit(shards, (pets,), predictions=("cats=x",)), "expected NAME=FILE with the name of a set"),
        (Audit(shards, (pets,), predictions=(f"pets={tmp_path / 'none.csv'}",)), "found nothing"),
    ]
    for audit, message in wrong:
        with pytest.raises(UserError, match=message) as caught:
            run_audit(audit, str(tmp_path / "out"), 1)
        assert "\n" not in str(caught.value)


def test_a_tar_that_breaks_off_is_told(world: Path, tmp_path: Path) -> None:
    """A truncated shard ends the audit with its name: what was not read must not pass for clean."""
    whole = (world / "shards" / "00000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises((InputError, StageError), match="breaks off"):
        run_audit(Audit(str(tmp_path / "cut.tar"), (f"pets={world / 'pets'}",)), str(tmp_path / "out"), 1)


def wit(*words: object) -> int:
    """Run a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_wit_overlap(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the table and where the report is; above --fail-above it exits 3 and says of which set."""
    command = ["overlap", world / "shards", "--against", f"pets={world / 'pets'}", "--out", tmp_path, "--processes", 1]
    assert wit(*command, "--fail-above", "40%") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["pets", "5", "2"]
    assert wit(*command, "--fail-above", "0.399") == 3
    assert "contamination above 39.9 %: pets (40.00%)" in capsys.readouterr().err


def test_remove_takes_the_samples_out(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--remove prints the command that does the same, takes out all that match, and a second audit is clean."""
    shards = tmp_path / "shards"
    shutil.copytree(world / "shards", shards)
    command = ["overlap", shards, "--against", f"pets={world / 'pets'}", "--out", tmp_path / "out", "--processes", 1]
    assert wit(*command, "--remove", "--reason", "in pets", "--yes") == 2
    assert "wit shards index" in capsys.readouterr().err
    index_tars(str(shards), None, 1)
    write_manifest(str(shards))
    assert wit(*command, "--remove", "--yes") == 2
    assert "--reason TEXT" in capsys.readouterr().err
    assert wit(*command, "--remove", "--reason", "in pets") == 2  # nobody can be asked
    assert "--yes" in capsys.readouterr().err
    assert wit(*command, "--remove", "--reason", "in pets", "--yes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith(f"wit shards remove {shards} --list {tmp_path / 'out' / 'samples.parquet'}")
    assert lines[-1] == "removed 13 samples from 2 shards"
    assert wit(*command, "--fail-above", "0") == 0


WRONG = [
    (["{shards}", "--against", "x"], "NAME=PATH"),
    (["{shards}"], "--against NAME=EVALSET, --with SHARDS2 and --itself"),
    (["{shards}", "--itself", "--with", "{shards}"], "expected one of"),
    (["{shards}", "--itself", "--turns", "all"], "--turns: expected --against"),
    (["{shards}", "--itself", "--threshold", "x=3"], "--threshold x=3"),
    (["{shards}", "--against", "x={pets}", "--fail-above", "150%"], "0.1%"),
    (["{shards}", "--against", "x={pets}", "--threshold", "x=999"], "from 0 to 127"),
    (["{shards}/*.tar", "--against", "x={pets}", "--remove", "--reason", "x", "--yes"], "found a pattern"),
    (["{shards}", "--against", "x={pets}", "--descriptor", "d", "--hash", "pdq"], "--descriptor"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_commands_exit_2(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A mistake is one line and exit code 2, and nothing is written."""
    places = {"shards": world / "shards", "pets": world / "pets"}
    assert wit("overlap", *(word.format(**places) for word in words), "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_shards_of_one_name_are_told_by_their_place(tmp_path: Path) -> None:
    """Of two folders with a 00000.tar each, samples and matches name the whole path."""
    for folder, seed in (("a", 1), ("b", 2)):
        write_tar(tmp_path / folder / "00000.tar", {"0.png": encoded(picture(seed), "PNG")})
    write_images(tmp_path / "set", {"x.png": encoded(picture(2), "PNG")})
    audit = Audit(str(tmp_path / "[ab]" / "*.tar"), (f"a/b={tmp_path / 'set'}",))
    result = run_audit(audit, str(tmp_path / "out"), 1)
    assert (result.num_samples, result.sets[0].contamination.num_overlap) == (2, 1)
    (match,) = rows(tmp_path / "out", "matches.parquet")
    assert (match["set"], match["shard"], match["key"]) == ("a/b", str(tmp_path / "b" / "00000.tar"), "0")
    assert "data:image/jpeg" in (tmp_path / "out" / "report.html").read_text()


def test_shards_without_images_are_told(world: Path, tmp_path: Path) -> None:
    """Tars of anything else are no training set: nothing in common with them must not pass for clean."""
    write_tar(tmp_path / "x.tar", {"0.txt": b"words"})
    with pytest.raises(InputError, match="expected shards with images, found none"):
        run_audit(Audit(str(tmp_path / "x.tar"), (f"pets={world / 'pets'}",)), str(tmp_path / "out"), 1)


def test_a_folder_at_work_is_not_shared(world: Path, tmp_path: Path) -> None:
    """A second audit in a folder where one is at work is refused."""
    from pipelines.audit.work import opened

    with opened(str(tmp_path), 1), pytest.raises(UserError, match="another wit overlap command is at work"):
        run_audit(asked(world), str(tmp_path), 1)


def test_wit_shards_verify(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command tells problems, sums them up, and exits 1."""
    assert wit("shards", "verify", world / "shards", "--processes", "1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 shards, 0 samples, 3 problems"
