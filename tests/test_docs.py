"""The documentation is that of the code: pages are current, commands in prose exist, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.support import ROOT
from wit.cli import COMMANDS, wit

PROSE = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


def test_reference_pages_are_current() -> None:
    """Each generated page is what the code gives now, in a process that has not used the commands; `make docs`."""
    check = [sys.executable, "-m", "docs.generate", "--check"]
    result = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_commands_in_prose_exist(page: Path) -> None:
    """Every `wit COMMAND [SUBCOMMAND] --option` in a page is one that the code has."""
    context = click.Context(wit)
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?:\$ )?(?: *)wit (\S.*)$", text, re.MULTILINE):
        words = line.split(" -- ")[0].split()
        assert words[0] in COMMANDS, line
        name = " ".join(words[:2])
        command = wit.get_command(context, name if name in COMMANDS else words[0])
        while isinstance(command, click.Group) and words[1:] and words[1] in command.commands:
            words = words[1:]
            command = command.commands[words[0]]
        known = {option for parameter in _parameters(command) for option in parameter.opts} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line


def _parameters(command: click.Command | None) -> list[click.Parameter]:
    assert command is not None
    children = command.commands.values() if isinstance(command, click.Group) else []
    return [*command.params, *(parameter for child in children for parameter in child.params)]


@pytest.mark.parametrize("page", [*PROSE, *sorted(ROOT.glob("docs/decisions/*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or folder of the project."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
