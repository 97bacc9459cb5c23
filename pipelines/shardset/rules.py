"""Which samples a takedown names: by key, by URL, by the hash of the image, by the domain of the URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from wit.blocklists import NOT_IN_DOMAINS
from wit.errors import InputError
from wit.hosts import MAX_HOST_CHARACTERS, Domains, host_of, hosts
from wit.storage import read_bytes, read_parquet

KINDS = ("key", "url", "sha256", "domain")
"""Of rules, in the order in which they are tried."""

_HASH = re.compile(r"[0-9a-fA-F]{64}")


class Matched(NamedTuple):
    """The rule that names each sample of an index, and what it asked for; both null where none does."""

    rule: pa.Array
    value: pa.Array


@dataclass(frozen=True)
class Rules:
    """What is asked for, by kind: domains cover their subdomains, all else is compared as it is written."""

    values: dict[str, pa.StringArray]
    """Arrow arrays: a list may have a million keys, and goes to every process."""

    def match(self, index: pa.Table) -> Matched:
        """Return which rule names each row of an index (key, url, sha256)."""
        rule = pa.nulls(len(index), pa.string())
        value = pa.nulls(len(index), pa.string())
        for kind in KINDS:
            wanted = self.values[kind]
            if not len(wanted):
                continue
            found = _domains(index["url"], wanted) if kind == "domain" else _equal(index[kind], wanted)
            is_new = pc.and_(pc.is_valid(found), pc.is_null(rule))
            rule = pc.if_else(is_new, kind, rule)
            value = pc.if_else(is_new, found, value)
        return Matched(rule, value)

    def unmatched(self, removals: pa.Table) -> tuple[str, ...]:
        """Return what is asked for and is nowhere in `removals` (REMOVALS)."""
        gone = {kind: set(removals[kind].to_pylist()) for kind in ("key", "url", "sha256")}
        gone["domain"] = set(removals.filter(pc.equal(removals["rule"], "domain"))["value"].to_pylist())
        return tuple(value for kind in KINDS for value in self.values[kind].to_pylist() if value not in gone[kind])


def _equal(column: pa.ChunkedArray, wanted: pa.StringArray) -> pa.Array:
    """Return the values of a column that are wanted; null elsewhere."""
    values = column.combine_chunks()
    return pc.if_else(pc.is_in(values, value_set=wanted), values, None)


def _domains(urls: pa.ChunkedArray, wanted: pa.StringArray) -> pa.Array:
    return Domains(wanted.to_pylist()).find(hosts(urls.combine_chunks())).cast(pa.string())


def make_rules(pairs: Iterable[tuple[str, str]]) -> Rules:
    """Return the rules of (kind, value) pairs; raises InputError for an empty value, and for no domain or hash."""
    values: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for kind, value in pairs:
        values[kind][_normal(kind, value)] = None
    return Rules({kind: pa.array(each, pa.string()) for kind, each in values.items()})


def _normal(kind: str, value: str) -> str:
    if not value:  # a variable that is not set; and samples of foreign tars may have no URL
        raise InputError(f"expected a {kind}, found {value!r}")
    if kind == "domain":
        host = host_of(f"http://{value.removeprefix('.')}") if not NOT_IN_DOMAINS.search(value) else ""
        if not host or len(host) > MAX_HOST_CHARACTERS:
            raise InputError(f"{value!r}: expected a domain, as example.org")
        return host
    if kind == "sha256":
        if not _HASH.fullmatch(value):
            raise InputError(f"{value!r}: expected the SHA-256 of a stored image, 64 hex digits")
        return value.lower()
    return value


def read_list(url: str) -> list[tuple[str, str]]:
    """Return the (kind, value) pairs of a list: a file of keys, URLs and hashes, one a line, or a Parquet table.

    Lines: what has "://" is a URL, 64 hex digits are a hash, all else is a key; "#" begins a comment line. Parquet:
    `removals.parquet` gives the rules that it records; of others the first column named key, url or sha256 counts.
    Raises InputError when there is no such.
    """
    if url.lower().endswith(".parquet"):
        return _from_table(url)
    try:
        text = read_bytes(url).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{url}: expected lines in UTF-8, or a .parquet file: {error}") from error
    lines = (line.strip() for line in text.splitlines())
    return [(_kind(line), line) for line in lines if line and not line.startswith("#")]


def _kind(line: str) -> str:
    if "://" in line:
        return "url"
    return "sha256" if _HASH.fullmatch(line) else "key"


def _from_table(url: str) -> list[tuple[str, str]]:
    table = read_parquet(url)
    if {"rule", "value"} <= set(table.column_names):
        return _recorded(table)
    kind = next((kind for kind in KINDS[:3] if kind in table.column_names), None)
    if kind is None or not _is_text(table[kind].type):
        raise InputError(f"{url}: expected a column of text named key, url or sha256, found {table.column_names}")
    return [(kind, value) for value in table[kind].cast(pa.large_string()).unique().to_pylist() if value]


def _is_text(kind: pa.DataType) -> bool:
    """Return whether a column holds text, in any of the forms that other programs write it in."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_one(plain) for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def rules_of(removals: pa.Table) -> Rules:
    """Return the rules that a record of removals (REMOVALS) names."""
    return make_rules(_recorded(removals))


def _recorded(table: pa.Table) -> list[tuple[str, str]]:
    pairs = zip(table["rule"].to_pylist(), table["value"].to_pylist(), strict=True)
    return [pair for pair in dict.fromkeys(pairs) if pair[0] in KINDS and pair[1]]
