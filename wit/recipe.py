"""Recipes: TOML to typed, frozen dataclasses, and back.

A section of the file is a dataclass whose fields are plain values. Field metadata carries what a type cannot say:
`min`, `max`, `choices`, `help`, and `identity=False` for a field that cannot change the result (a transport
address, say), which fingerprints leave out. An unknown key, a wrong type or a bad range is a RecipeError that names
the file and the line.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from wit.errors import RecipeError
from wit.storage import read_bytes

T = TypeVar("T")

_TYPE_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_NUMBERS_END = 2**63
"""Numbers are smaller than this: what a column of 64 bits holds. TOML knows larger ones, infinity and nan."""


def load(path: str | None, cls: type[T], overrides: Sequence[str] = (), option: str = "--set") -> T:
    """Return the recipe in a TOML file as an instance of `cls`, after `section.key=value` overrides of an `option`.

    Without a file it is the defaults that are overridden. Raises RecipeError (naming file and line) for anything that
    does not fit, InputError for a missing file.
    """
    try:
        text = "" if path is None else read_bytes(path).decode()
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: expected UTF-8 text: {error.reason} at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    origin = _Origin(path or option, text, option, {})
    for override in overrides:
        _apply(override, data, cls, origin)
    return _build(cls, data, (), origin)


@dataclasses.dataclass(frozen=True)
class _Origin:
    """Where a value was written: in a line of the file, or on the command line."""

    path: str
    text: str
    option: str
    overridden: dict[tuple[str, ...], str]

    def where(self, keys: tuple[str, ...]) -> str:
        line = None if keys in self.overridden else _line_of(self.text, keys)
        if line:
            return f"{self.path}:{line}"
        set_here = (text for overridden, text in self.overridden.items() if keys and overridden[: len(keys)] == keys)
        return next((f"{self.option} {text}" for text in set_here), self.path)


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line (from 1) that sets `keys`, or that opens their table."""
    table: tuple[str, ...] = ()
    opened = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        if header:
            table = tuple(part.strip().strip("\"'") for part in header.group(1).split("."))
            if table == keys:
                opened = number
            continue
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key and (*table, *(part.strip("\"'") for part in key.group(1).split("."))) == keys:
            return number
    return opened


def _apply(override: str, data: dict[str, Any], cls: type, origin: _Origin) -> None:
    """Put one `section.key=value` into `data`; the value is read as TOML, or as a bare string."""
    name, equals, value = override.partition("=")
    keys = tuple(part.strip() for part in name.split("."))
    if not equals or not all(keys):
        raise RecipeError(f"{origin.option} {override}: expected section.key=value")
    try:
        ((_, parsed),) = tomllib.loads(f"value = {value}").items()
    except (ValueError, RecursionError):  # no TOML value, or more than one
        parsed = value
    kind = _kind_of(cls, keys)
    if kind is str and not isinstance(parsed, str):
        parsed = value
    if get_origin(kind) is tuple and not isinstance(parsed, list):
        parsed = [value] if value else []
    table = data
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{origin.option} {override}: {key!r} is a value, not a section")
    table[keys[-1]] = parsed
    origin.overridden[keys] = override


def _kind_of(cls: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not dataclasses.is_dataclass(cls):
            return None
        cls = get_type_hints(cls).get(key)
    return cls


def _build(cls: type[T], data: Mapping[str, Any], keys: tuple[str, ...], origin: _Origin) -> T:
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise RecipeError(f"{origin.where((*keys, name))}: {_unknown(name, keys, list(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        here = (*keys, name)
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            section = data.get(name, {})
            if not isinstance(section, dict):
                raise RecipeError(f"{origin.where(here)}: expected a section [{'.'.join(here)}], found {section!r}")
            values[name] = _build(kind, section, here, origin)  # type: ignore[arg-type]
        elif name in data:
            values[name] = _value(kind, data[name], field.metadata, here, origin)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{origin.where(keys)}: expected a value for {'.'.join(here)}, found none")
    return cls(**values)


def _unknown(name: str, keys: tuple[str, ...], known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    what = f"unknown key {'.'.join((*keys, name))!r}"
    return f"{what}; did you mean {close[0]!r}?" if close else f"{what}; expected one of {', '.join(known)}"


def _value(kind: Any, value: Any, metadata: Mapping[str, Any], keys: tuple[str, ...], origin: _Origin) -> Any:
    name = ".".join(keys)
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if not isinstance(value, list) or not all(_fits(inner, item) for item in value):
            expected = _TYPE_NAMES[inner].split(" ", 1)[1] + "s"
            raise RecipeError(f"{origin.where(keys)}: {name}: expected a list of {expected}, found {value!r}")
        _check_range(value, metadata, name, keys, origin)
        return tuple(value)
    if not _fits(kind, value):
        raise RecipeError(f"{origin.where(keys)}: {name}: expected {_TYPE_NAMES[kind]}, found {value!r}")
    _check_range([value], metadata, name, keys, origin)
    return float(value) if kind is float else value


def _fits(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _check_range(
    values: list[Any], metadata: Mapping[str, Any], name: str, keys: tuple[str, ...], origin: _Origin
) -> None:
    low, high, choices = metadata.get("min"), metadata.get("max"), metadata.get("choices")
    for value in values:
        if low is not None and not value >= low:  # also catches nan
            raise RecipeError(f"{origin.where(keys)}: {name}: expected at least {low}, found {value}")
        if high is not None and not value <= high:
            raise RecipeError(f"{origin.where(keys)}: {name}: expected at most {high}, found {value}")
        if choices is not None and value not in choices:
            raise RecipeError(f"{origin.where(keys)}: {name}: expected one of {', '.join(choices)}, found {value!r}")
        if isinstance(value, str) and "\0" in value:  # no name of a file may hold one
            raise RecipeError(f"{origin.where(keys)}: {name}: expected text without NUL, found {value!r}")
        if isinstance(value, int | float) and not abs(value) < _NUMBERS_END:  # also catches nan
            raise RecipeError(f"{origin.where(keys)}: {name}: expected a number below 2^63, found {value}")


def identity(section: Any) -> dict[str, Any]:
    """Return the values of a section that can change the result, by name."""
    return {
        field.name: identity(value) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(section)
        if field.init and field.metadata.get("identity", True)
        for value in [getattr(section, field.name)]
    }


def dumps(recipe: Any) -> str:
    """Return a recipe as TOML with every value written out; `load` gives the same recipe back."""
    return "\n".join(_lines(recipe, ())).strip() + "\n"


def _lines(section: Any, keys: tuple[str, ...]) -> Iterator[str]:
    tables = []
    if keys:
        yield f"\n[{'.'.join(keys)}]"
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            tables.append((field.name, value))
        elif field.init:
            yield f"{field.name} = {_literal(value)}"
    for name, table in tables:
        yield from _lines(table, (*keys, name))


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):
        escaped = "".join(_escape(character) for character in value)
        return f'"{escaped}"'
    return repr(value)


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character >= " " and character != "\x7f" else f"\\u{ord(character):04x}"


def field_rows(section: type) -> list[tuple[str, str, str, str]]:
    """Return (name, type, default, help) of each field of a section: what the reference pages print."""
    hints = get_type_hints(section)
    return [
        (field.name, _type_label(hints[field.name], field), _default_label(field), str(field.metadata.get("help", "")))
        for field in dataclasses.fields(section)
        if field.init
    ]


def _type_label(kind: Any, field: dataclasses.Field[Any]) -> str:
    if get_origin(kind) is tuple:
        return f"list of {get_args(kind)[0].__name__}"
    if "choices" in field.metadata:
        return ", ".join(f"`{choice}`" for choice in field.metadata["choices"])
    return str(getattr(kind, "__name__", kind))


def _default_label(field: dataclasses.Field[Any]) -> str:
    return "required" if field.default is dataclasses.MISSING else _literal(field.default)
