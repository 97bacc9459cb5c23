"""Lists of class names and prompts in others' files, read without running anything that stands in them.

JSON (CLIP_benchmark), TOML, Markdown with fenced lists (CLIP's prompts.md), notebooks (CLIP's for ImageNet) and Python
modules (open_clip's zero_shot_metadata.py) all become one value: a list, or mappings of names to lists.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from wit.errors import InputError
from wit.evaluation_sets.labels import class_lines

CLASSES, TEMPLATES = "classes", "templates"
SLOT = "{label}"
"""Where a class name goes in a template."""

_VARIABLE = re.compile(r"(?:(\w*)_)?(classes|classnames|templates?)", re.IGNORECASE)
_SECTION = re.compile(r"^#+ +(.+?) *$")
_FENCE = "```"
_OWN = "openai_"  # open_clip's OPENAI_IMAGENET_TEMPLATES are ImageNet's 80


def parse_lists(text: str, where: str) -> Any:
    """Return what a file holds: a list of names or templates, or mappings to such lists; raises InputError."""
    suffix = where.rpartition(".")[2].lower()
    return _FORMS.get(suffix, _plain)(text, where)


def _plain(text: str, where: str) -> Any:
    """Return a line each; where all have a " = ", what stands before and behind it; several names have "|" between."""
    lines = class_lines(text)
    if lines and all(" = " in line for line in lines):
        pairs = [line.split(" = ", 1) for line in lines]
        _require_once([label.strip() for label, _ in pairs], where)
        return {label.strip(): _synonyms(names) for label, names in pairs}
    return [_synonyms(line) for line in lines]


def _synonyms(text: str) -> list[str] | str:
    names = [name.strip() for name in text.split("|")]
    return names if len(names) > 1 else names[0]


def _require_once(labels: list[str], where: str) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{where}: expected each class once, found {label!r} twice; remove one")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: expected JSON, found another text: {error}") from error


def _toml(text: str, where: str) -> Any:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{where}: expected TOML, found another text: {error}") from error


def _python(text: str, where: str) -> Any:
    """Return {set: {classes, templates}} of variables such as IMAGENET_CLASSNAMES, or {classes, templates}."""
    found: dict[str, Any] = {}
    for variable, values in _assignments(text, where):
        match = _VARIABLE.fullmatch(variable)
        if match is None:
            continue
        owner = (match.group(1) or "").lower().removeprefix(_OWN)
        kind = TEMPLATES if match.group(2).lower().startswith("template") else CLASSES
        (found.setdefault(owner, {}) if owner else found).setdefault(kind, values)
    return found


def _assignments(text: str, where: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the variables of a text of Python to which lists of strings are assigned, at its outermost level."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: expected Python's notation of lists, found another text: {error}") from error
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List | ast.Tuple):
            values = [_literal(element) for element in statement.value.elts]
            if None not in values:
                yield from ((target.id, values) for target in statement.targets if isinstance(target, ast.Name))


def _literal(node: ast.expr) -> Any:
    """Return a string, a list of strings, or the template that `lambda c: f"a {c}."` is; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        parts = [_literal(element) for element in node.elts]
        return parts if all(isinstance(part, str) for part in parts) else None
    if isinstance(node, ast.Lambda) and isinstance(node.body, ast.JoinedStr):
        signs = (part.value if isinstance(part, ast.Constant) else SLOT for part in node.body.values)
        return "".join(map(str, signs))
    return None


def _markdown(text: str, where: str) -> Any:
    """Return {heading: {classes, templates}} of the lists in fenced blocks under headings."""
    found: dict[str, Any] = {}
    heading, block = "", list[str]()
    is_fenced = False
    for line in text.splitlines():
        if line.startswith(_FENCE):
            if is_fenced:
                found |= _under(heading, _python("\n".join(block), f"{where}: {heading}"))
                block = []
            is_fenced = not is_fenced
        elif is_fenced:
            block.append(line)
        elif match := _SECTION.match(line):
            heading = match.group(1)
    return found


def _under(heading: str, lists: dict[str, Any]) -> dict[str, Any]:
    return {heading: lists} if lists else {}


def _notebook(text: str, where: str) -> Any:
    """Return {set: {classes, templates}} of the cells of a notebook that are nothing but Python."""
    notebook = _json(text, where)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise InputError(f"{where}: expected a notebook's cells, found none")
    found: dict[str, Any] = {}
    for cell in cells:
        source = cell.get("source", "") if isinstance(cell, dict) and cell.get("cell_type") == "code" else ""
        code = "".join(source) if isinstance(source, list) else str(source)
        if not any(line.lstrip().startswith(("!", "%")) for line in code.splitlines()):
            for owner, lists in _python(code, where).items():
                found.setdefault(owner, {}).update(lists)
    return found


_FORMS: dict[str, Callable[[str, str], Any]] = {
    "json": _json,
    "toml": _toml,
    "py": _python,
    "md": _markdown,
    "ipynb": _notebook,
}
"""By a file's suffix; any other is plain text."""
