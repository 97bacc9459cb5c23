"""What `wit overlap` refuses before it hashes anything, or writes over anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pytest

from pipelines.audit.asking import Audit
from pipelines.audit.comparison import Twins, run_comparison
from pipelines.audit.engine import run_audit, run_calibration
from pipelines.audit.pictures import WANTED, ShowSamples
from pipelines.audit.training import training_inputs
from pipelines.executors.parts import part_name, write_rows
from tests.pipelines.audited import encoded, picture, write_images, write_tar
from wit.cli import main
from wit.errors import OutputError, UserError
from wit.schema.evaluation import TRAINING_INPUTS
from wit.stage import Part


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A set of two images, and shards with one of them."""
    images = {f"{seed}.png": encoded(picture(seed), "PNG") for seed in (1, 2)}
    write_images(tmp_path / "set", images)
    write_tar(tmp_path / "shards" / "0.tar", {"1.png": images["1.png"]})
    return tmp_path


def asked(world: Path) -> Audit:
    return Audit(str(world / "shards"), (f"x={world / 'set'}",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reason", "x"], "--reason: expected --remove"),
        (["--yes"], "--yes: expected --remove"),
        (["--calibrate", "--fail-above", "0"], "--fail-above: expected no --calibrate"),
        (["--calibrate", "--remove", "--reason", "x", "--yes"], "--remove: expected no --calibrate"),
    ],
)
def test_options_that_would_do_nothing(
    world: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """An option that another makes idle is refused: a removal or a check that never ran would pass for one that did."""
    command = ["overlap", str(world / "shards"), "--against", f"x={world / 'set'}", "--out", str(world / "out")]
    with pytest.raises(SystemExit) as ended:
        main([*command, *options])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (world / "out").exists()


@pytest.mark.parametrize("command", ["audit", "calibration", "comparison"])
def test_no_folder_is_written_to_by_an_empty_name(world: Path, command: str) -> None:
    """An empty name, as of a variable that is not set, is not the root folder."""
    with pytest.raises(UserError, match="expected the name of a folder"):
        run(command, world, "")


@pytest.mark.parametrize("command", ["audit", "calibration", "comparison"])
@pytest.mark.parametrize("name", ["pages", "report.html"])
def test_pages_of_others_stay(world: Path, command: str, name: str) -> None:
    """A folder with pages that no audit made is left as it is."""
    write_images(world / "site", {f"{name}/mine" if name == "pages" else name: b"mine"})
    with pytest.raises(UserError, match=rf"site/{name}: expected a new folder, or one of an audit"):
        run(command, world, str(world / "site"))
    assert [path.read_bytes() for path in (world / "site").rglob("*") if path.is_file()] == [b"mine"]


@pytest.mark.parametrize("below", [".", "audits/1"])
def test_an_output_inside_a_set_is_refused(world: Path, below: str) -> None:
    """Its tables would be read as a part of the set by the next audit."""
    link = world / "link"
    link.symlink_to(world / "set")
    with pytest.raises(UserError, match="outside the evaluation set 'x'"):
        run("audit", world, str(link / below))
    assert sorted(path.name for path in (world / "set").iterdir()) == ["1.png", "2.png"]


def test_one_folder_for_one_audit_after_another(world: Path) -> None:
    """An audit may follow a calibration, an audit or a comparison where that wrote."""
    for command in ("calibration", "audit", "audit", "comparison", "audit"):
        run(command, world, str(world / "out"))
    assert (world / "out" / "report.html").exists()


@pytest.mark.parametrize("command", ["audit", "calibration", "comparison"])
def test_what_killed_commands_left_goes(world: Path, command: str) -> None:
    """Files half written, folders half removed and finished work go; the rest is as if nothing had been killed."""
    run(command, world, str(world / "new"))
    (world / "out" / ".tmp-audit-done" / "training").mkdir(parents=True)
    (world / "out" / ".tmp-pages-1-0").mkdir()
    write_images(world / "out", {".tmp-report.html-1-0": b"<", ".tmp-audit/training/x/kept/.tmp-part-0-1-0": b"P"})
    run(command, world, str(world / "out"))
    assert names(world / "out") == names(world / "new")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_finished_work_goes_at_once(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is killed while it removes its work leaves none that the next would take for whole."""
    killed = RuntimeError("killed")

    def kill(_: str) -> None:
        raise killed

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.audit.work.remove", kill)
        with pytest.raises(RuntimeError, match="killed"):
            run("audit", world, str(world / "out"))
    assert not (world / "out" / ".tmp-audit").exists()
    run("audit", world, str(world / "out"))
    assert not list((world / "out").glob(".tmp-*"))


@dataclass(frozen=True)
class FullDisk:
    """A part of a run whose files are on a disk that is full."""

    root: str
    file: IO[bytes]

    def blob(self, _: str) -> tuple[str, IO[bytes]]:
        return "blobs/part-00000.jpgs", self.file


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_thumbnails_that_a_disk_has_no_room_for(world: Path) -> None:
    """A disk that fills up while thumbnails are made is told as any other output's."""
    table = pa.Table.from_pylist([{"group": "0.tar", "name": "1"}], schema=WANTED)
    write_rows(str(world / "wanted" / part_name(0)), WANTED, table.to_batches())
    inputs = pa.Table.from_pylist(training_inputs([str(world / "shards" / "0.tar")], False), schema=TRAINING_INPUTS)
    with (
        open("/dev/full", "wb", buffering=0) as file,
        pytest.raises(OutputError, match=r"blobs/part-00000\.jpgs: cannot be written: no space left"),
    ):
        list(ShowSamples("wanted")(iter(inputs.to_batches()), cast(Part, FullDisk(str(world), file))))


def run(command: str, world: Path, out: str) -> None:
    if command == "audit":
        run_audit(asked(world), out, 1)
    elif command == "calibration":
        run_calibration(asked(world), out, 1, "wit overlap x")
    else:
        run_comparison(Twins(str(world / "shards")), out, 1)
