"""The root command: quick, lazy, and one line for a mistake."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wit.cli import COMMANDS, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "wit", *arguments], capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy() -> None:
    """`wit --help` imports neither torch nor Spark nor pandas, nor anything else that takes long."""
    script = (
        "import sys; from wit.cli import wit; wit.main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = ("torch", "pyspark", "pandas", "pyarrow", "numpy", "duckdb", "PIL", "rich", "aiohttp", "fsspec")
    assert not [name for name in heavy if f"'{name}'" in loaded]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    """Each command, and each of a group's, shows how it is used, without loading torch or Spark."""
    script = (
        "import sys, click\n"
        "from wit.cli import wit\n"
        f"command = wit.get_command(click.Context(wit), {command!r})\n"
        "commands = [command, *getattr(command, 'commands', {}).values()]\n"
        "for each in commands:\n"
        "    text = each.get_help(click.Context(each, info_name='x'))\n"
        "    assert 'Example:' in text or isinstance(each, click.Group), text\n"
        "assert not {'torch', 'pyspark', 'pandas'} & set(sys.modules), 'heavy'\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("no-such-command",), "expected a command"),
        (("run",), "Missing argument"),
        (("run", "none.toml", "--out", "x"), "none.toml: expected a file"),
        (("status", "no-such-run"), "expected a run directory"),
        (("sql", "no-such-run", "select 1"), "expected a run directory"),
        (("queries", "build", "--dump", "none.xml", "--out", "x"), "none.xml"),
        (("run", "tiny", "--out", "x", "--set", "match.mod=1"), "did you mean 'mode'"),
        (("run", "tiny", "--out", "x", "--from", "nowhere"), "expected a stage"),
        (("overlap", "shards", "--itself", "--out", "a\udcff"), "expected words in UTF-8"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    """No traceback, one line on stderr that says what was expected."""
    result = run(*arguments)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose package is not installed says which extra brings it."""
    monkeypatch.setitem(COMMANDS, "train", ("tests.wit.needs_torch:train", "x"))
    monkeypatch.setitem(sys.modules, "tests.wit.needs_torch", None)

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(SystemExit, match="2"):
        main(["train"])
    assert "pip install 'wit[train]'" in capsys.readouterr().err


def test_names_in_a_message_do_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of a name are shown as what they are; other letters stay."""
    with pytest.raises(SystemExit):
        main(["\x1b[31m\u202e\x07é"])
    assert "found '\\x1b[31m\\u202e\\x07é'" in capsys.readouterr().err.replace("\\\\", "\\")
