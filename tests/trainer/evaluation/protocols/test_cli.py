from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from trainer.evaluation.protocols.cli import NAMES, evaluate_protocol
from trainer.evaluation.protocols.running import PROTOCOLS
from trainer.interchange.writing import write_openai
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.tokenizer import ClipTokenizer, dump_merges
from wit.errors import InputError, OutputError, UserError


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Return the command's arguments but for the protocol and the table: a random model in OpenAI's format."""
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval()
    merges = [(one, other) for one in "abcdefghij" for other in "abcdefghij"][: 600 - 514]
    assert model.config.text.vocabulary_size == ClipTokenizer(merges).vocabulary_size
    (tmp_path / "merges.txt").write_bytes(dump_merges(merges))
    write_openai(str(tmp_path / "model.safetensors"), model)
    for number in range(4):
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    return [
        str(tmp_path / "model.safetensors"),
        "--merges",
        str(tmp_path / "merges.txt"),
        "--out",
        str(tmp_path / "out"),
    ]


def test_names_are_those_of_protocols() -> None:
    """The command's help names every protocol, without importing any."""
    assert set(NAMES) == set(PROTOCOLS)
    assert all(name in (evaluate_protocol.help or "") for name in NAMES)


def test_a_command_prints_and_writes(tmp_path: Path, words: list[str]) -> None:
    """The warning, then a line a result with its interval and chance; and the file that pages read."""
    (tmp_path / "people.csv").write_text("image,name\n" + "".join(f"{n}.png,Name {n}\n" for n in range(4)))
    found = CliRunner().invoke(
        evaluate_protocol,
        ["identification", *words, "--table", str(tmp_path / "people.csv"), "--task", "mine"],
        catch_exceptions=False,
    )
    assert found.exit_code == 0
    assert found.stdout.startswith("mine identification_people_4: accuracy ")
    assert found.stdout.endswith("; chance 25.0%\n")
    assert "misused" in found.stderr
    assert found.output.index("misused") < found.output.index("mine identification")
    result = json.loads((tmp_path / "out/results/mine.identification_people_4.json").read_bytes())
    assert (result["num_items"], result["num_classes"], result["chance"]) == (4, 4, 0.25)


@pytest.mark.parametrize("task", ["", "a/b", ".."])
def test_a_task_is_a_name(tmp_path: Path, words: list[str], task: str) -> None:
    """A task of which no file's name can be made is an error before anything is read."""
    with pytest.raises(UserError, match="expected a name of which a file's can be made"):
        CliRunner().invoke(
            evaluate_protocol, ["harm", *words, "--table", "none", "--task", task], catch_exceptions=False
        )


def test_what_is_broken_is_left_out_on_request(tmp_path: Path, words: list[str]) -> None:
    """An unreadable picture is one line; with --skip-broken it is counted, in the result too; embeddings are kept."""
    (tmp_path / "words.csv").write_text("image,word\n" + "".join(f"{n}.png,word{n % 2}\n" for n in range(5)))
    (tmp_path / "3.png").write_bytes(b"no picture")
    command = ["reading", *words, "--table", str(tmp_path / "words.csv"), "--task", "mine"]
    with pytest.raises(InputError, match=r"3.png: expected pictures, found not_image: .*; or leave .* --skip-broken"):
        CliRunner().invoke(evaluate_protocol, command, catch_exceptions=False)
    found = CliRunner().invoke(evaluate_protocol, [*command, "--skip-broken"], catch_exceptions=False)
    assert found.stdout.endswith("\nleft out, as they could not be read: not_image 1, unreadable 1\n")
    result = json.loads((tmp_path / "out/results/mine.reading.json").read_bytes())
    assert (result["num_items"], result["details"]["rejected"]) == (3, {"not_image": 1, "unreadable": 1})
    assert json.loads((tmp_path / "out/checkpoint.json").read_bytes())["name"]
    assert list((tmp_path / "out/embeddings").rglob("*.safetensors"))
    elsewhere = [*command, "--skip-broken", "--cache", str(tmp_path / "elsewhere")]
    assert CliRunner().invoke(evaluate_protocol, elsewhere, catch_exceptions=False).stdout == found.stdout
    assert list((tmp_path / "elsewhere").rglob("*.safetensors"))


def test_where_results_cannot_go_is_said_before_anything_is_embedded(tmp_path: Path, words: list[str]) -> None:
    """An --out that is a file is an error at once, not when hours of embedding are done."""
    (tmp_path / "out").write_text("a file")
    (tmp_path / "people.csv").write_text("image,name\n" + "".join(f"{n}.png,Name {n}\n" for n in range(4)))
    command = ["identification", *words, "--table", str(tmp_path / "people.csv"), "--task", "mine"]
    with pytest.raises(OutputError):
        CliRunner().invoke(
            evaluate_protocol, [*command, "--cache", str(tmp_path / "elsewhere")], catch_exceptions=False
        )
    assert not (tmp_path / "elsewhere").exists()
