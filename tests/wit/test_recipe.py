"""Recipes: every mistake is one line that names the file and the line; a recipe survives a round trip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit.errors import InputError, RecipeError
from wit.recipe import dumps, field_rows, identity, load


@dataclass(frozen=True)
class Crawl:
    """A section."""

    depth: int = field(default=3, metadata={"min": 1, "max": 9, "help": "how far"})
    rate: float = field(default=1.5, metadata={"min": 0.0})
    mode: str = field(default="polite", metadata={"choices": ("polite", "fast")})
    hosts: tuple[str, ...] = ()
    verbose: bool = field(default=False, metadata={"identity": False})
    agent: str = "wit"


@dataclass(frozen=True)
class Recipe:
    name: str = "x"
    crawl: Crawl = field(default_factory=Crawl)


def write(folder: Path, text: str) -> str:
    path = folder / "r.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[crawl]\ndeth = 2", r"r\.toml:2: unknown key 'crawl\.deth'; did you mean 'depth'\?"),
        ("\n[crwl]\ndepth = 2", r"r\.toml:2: unknown key 'crwl'; did you mean 'crawl'\?"),
        ("[crawl]\n\ndepth = '2'", r"r\.toml:3: crawl\.depth: expected an integer, found '2'"),
        ("[crawl]\ndepth = true", r"r\.toml:2: crawl\.depth: expected an integer, found True"),
        ("[crawl]\ndepth = 10", r"r\.toml:2: crawl\.depth: expected at most 9, found 10"),
        ("[crawl]\nrate = nan", r"r\.toml:2: crawl\.rate: expected at least 0\.0, found nan"),
        ("[crawl]\nrate = inf", r"r\.toml:2: crawl\.rate: expected a number below 2\^63, found inf"),
        ('[crawl]\nagent = "a\\u0000b"', r"r\.toml:2: crawl\.agent: expected text without NUL, found 'a\\x00b'"),
        ('[crawl]\nhosts = ["a", "\\u0000"]', r"r\.toml:2: crawl\.hosts: expected text without NUL, found '\\x00'"),
        ("[crawl]\nrate = 1" + "0" * 400, r"r\.toml:2: crawl\.rate: expected a number below 2\^63, found 10"),
        ("[crawl]\nmode = 'rude'", r"r\.toml:2: crawl\.mode: expected one of polite, fast, found 'rude'"),
        ("[crawl]\nhosts = 'a'", r"r\.toml:2: crawl\.hosts: expected a list of strings, found 'a'"),
        ("[crawl]\nhosts = [1]", r"r\.toml:2: crawl\.hosts: expected a list of strings"),
        ("crawl = 1", r"r\.toml:1: expected a section \[crawl\], found 1"),
        ("crawl.depth = 0", r"r\.toml:1: crawl\.depth: expected at least 1, found 0"),
        ("[crawl\ndepth = 1", r"r\.toml: not TOML: .*line 1"),
        ("a = " + "[" * 100_000, r"r\.toml: not TOML: maximum recursion"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    """What was expected, what was found, and where."""
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, text), Recipe)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("crawl.deth=1", r"--set crawl\.deth=1: unknown key 'crawl\.deth'; did you mean 'depth'\?"),
        ("crawl.depth=many", r"--set crawl\.depth=many: crawl\.depth: expected an integer, found 'many'"),
        ("crawl.depth", r"expected section\.key=value"),
        ("name.x=1", r"--set name\.x=1"),
        ("crawl.depth=" + "[" * 100_000, r"crawl\.depth: expected an integer, found"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_override(tmp_path: Path, override: str, message: str) -> None:
    """An override that does not fit is shown as it was typed."""
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, "name = 'y'"), Recipe, [override])


def test_overrides_win_and_take_bare_strings(tmp_path: Path) -> None:
    """Values are read as TOML where they are TOML, as text where the field is text."""
    path = write(tmp_path, "[crawl]\ndepth = 2")
    recipe = load(path, Recipe, ["crawl.depth=4", "crawl.agent=12", "crawl.hosts=a/*.gz", "crawl.verbose=true"])
    assert recipe.crawl == Crawl(depth=4, agent="12", hosts=("a/*.gz",), verbose=True)
    assert load(path, Recipe, ['crawl.hosts=["a", "b"]']).crawl.hosts == ("a", "b")


def test_missing_file_and_bad_bytes(tmp_path: Path) -> None:
    """A recipe that is not there, or not text, is a user's error as well."""
    with pytest.raises(InputError, match="expected a file"):
        load(str(tmp_path / "none.toml"), Recipe)
    (tmp_path / "bad.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match="UTF-8"):
        load(str(tmp_path / "bad.toml"), Recipe)


text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)


@given(
    st.builds(
        Recipe, text, st.builds(Crawl, st.integers(1, 9), st.floats(0, 1e9), st.just("fast"), st.lists(text).map(tuple))
    )
)
def test_dumps_and_load_are_inverse(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    """The resolved recipe that a run keeps gives the same recipe back."""
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_text(dumps(recipe), encoding="utf-8", newline="")
    assert load(str(path), Recipe) == recipe


def test_identity_leaves_out_what_cannot_change_the_result() -> None:
    """Fields marked identity=False are not part of a fingerprint; all others are."""
    assert "verbose" not in identity(Recipe())["crawl"]
    assert identity(Recipe())["crawl"]["depth"] == 3


def test_field_rows_document_every_field() -> None:
    """The reference page has name, type, default and help of each field."""
    assert field_rows(Crawl)[0] == ("depth", "int", "3", "how far")
    assert field_rows(Crawl)[3][1] == "list of str"
