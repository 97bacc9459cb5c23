"""Reads the JSON of results: each part as it must be, or one line that says where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from wit import manifest
from wit.errors import InputError
from wit.storage import read_bytes

Value = TypeVar("Value")


def read_facts(url: str, *keys: str) -> dict[str, Any]:
    """Return an object of JSON with some keys at least.

    Raises InputError for another, and for what Python takes for JSON and others do not: NaN, numbers without an end,
    halves of characters, none of which a page could show.
    """
    try:
        orjson.loads(read_bytes(url))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{url}: expected results in JSON: {error}; evaluate again") from error
    return manifest.read(url, *keys)


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Return whether a value of JSON is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


@dataclass(frozen=True)
class Reader:
    """The parts of an object in a file by their keys; each method raises InputError for one that is otherwise."""

    url: str
    facts: Mapping[str, Any]
    place: str = ""
    """Of the object in the file, before its keys."""

    def wrong(self, key: str, expected: str) -> InputError:
        """Return the error of a part that is not as expected."""
        found = str(self.facts.get(key))[:60]
        return InputError(f"{self.url}: {self.place}{key}: expected {expected}, found {found!r}; evaluate again")

    def text(self, key: str) -> str:
        """Return a text that is not empty."""
        value = self.facts.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a word")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.facts.get(key)
        if not is_number(value):
            raise self.wrong(key, "a number")
        return float(value)  # type: ignore[arg-type]

    def share(self, key: str) -> float:
        """Return a number from 0 to 1."""
        value = self.facts.get(key)
        if not is_share(value):
            raise self.wrong(key, "a share from 0 to 1")
        return float(value)  # type: ignore[arg-type]

    def count(self, key: str) -> int:
        """Return a whole number that is not negative."""
        value = self.facts.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.wrong(key, "a count")
        return value

    def interval(self, key: str) -> tuple[float, float]:
        """Return two shares, the lower first."""
        low, high = self._pair(key, is_share, "two shares")
        return low, high

    def span(self, key: str) -> tuple[float, float]:
        """Return two numbers, the lower first."""
        low, high = self._pair(key, is_number, "two numbers")
        return low, high

    def _pair(self, key: str, is_right: Callable[[Any], bool], expected: str) -> list[float]:
        value = self.facts.get(key)
        if not isinstance(value, list) or len(value) != 2 or not all(map(is_right, value)):
            raise self.wrong(key, expected)
        if value[0] > value[1]:
            raise self.wrong(key, "the lower end first")
        return [float(end) for end in value]

    def maybe(self, read: Callable[[str], Value], key: str) -> Value | None:
        """Return what a method of this reader reads, or None for a part that is null or not there."""
        return None if self.facts.get(key) is None else read(key)

    def numbers(self, key: str) -> dict[str, float]:
        """Return numbers by name; none where there is no such part."""
        names = self.part(key)
        return {name: names.number(name) for name in names.facts}

    def part(self, key: str) -> Reader:
        """Return an object, an empty one where there is none."""
        value = self.facts.get(key) or {}
        if not isinstance(value, dict):
            raise self.wrong(key, "names with values")
        return Reader(self.url, value, f"{self.place}{key}: ")

    def rows(self, key: str) -> list[Reader]:
        """Return a list of objects, an empty one where there is none."""
        value = self.facts.get(key) or []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self.wrong(key, "a list of rows")
        return [Reader(self.url, row, f"{self.place}{key}, row {number}: ") for number, row in enumerate(value, 1)]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, an empty one where there is none."""
        value = self.facts.get(key) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(key, "a list of words")
        return tuple(value)
