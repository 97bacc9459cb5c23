"""`wit queries`: build the list of queries, look a term up in it, compare two lists."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from typing import Any

import click

from wit.errors import UserError

FIT = "fit"
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # cgroups 2 and 1
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_FITTED = f"'{FIT}': fill the list to --limit."


class Bytes(click.ParamType[int]):
    """A size: 4GB, 512MiB, 2000000000."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"expected a size such as 4GB or 512MiB, found {value!r}", param, ctx)
        number, unit, binary = match.groups()
        return int(float(number) * (1024 if binary else 1000) ** ["", "k", "m", "g", "t"].index(unit.lower()))


class Threshold(click.ParamType[int | float | str]):
    """A number of at least `least`, or the word fit."""

    name = "number|fit"

    def __init__(self, kind: type[int] | type[float], least: float = -math.inf) -> None:
        self.kind, self.least = kind, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float | str:
        if value == FIT:
            return FIT
        try:
            number = self.kind(value)
        except ValueError:
            self.fail(f"expected a number or '{FIT}', found {value!r}", param, ctx)
        if not math.isfinite(number) or number < self.least:
            expected = f"{self.least:g} or more" if math.isfinite(self.least) else "a number"
            self.fail(f"expected {expected}, found {value}", param, ctx)
        return number


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a number, found {value}")
    return value


@click.group()
def queries() -> None:
    """Build, read and compare lists of queries."""


@queries.command(epilog="Example: wit queries build --dump 'enwiki-*.bz2' --wordnet /usr/share/wordnet --out queries")
@click.option(
    "--dump",
    "dumps",
    multiple=True,
    metavar="FILES",
    help="Wikipedia dump (.xml, .bz2, .gz, .zst): path, URL, glob; repeatable.",
)
@click.option(
    "--pageviews", multiple=True, metavar="FILES", help="Hourly, daily or monthly files, 'Title count' lists."
)
@click.option("--wordnet", "wordnets", multiple=True, metavar="FOLDER", help="WordNet's data.noun, ...; repeatable.")
@click.option("--lemmas", type=click.Choice(["heads", "all"]), default="heads", show_default=True, help="Of a synset.")
@click.option("--language", default="en", show_default=True, help="Language of the dump, and code in pageview files.")
@click.option(
    "--min-word-count", type=Threshold(int, 1), default=100, show_default=True, help=f"Least of a word. {_FITTED}"
)
@click.option("--min-bigram-count", type=click.IntRange(1), default=100, show_default=True, help="Least of a bigram.")
@click.option(
    "--min-pmi", type=Threshold(float), default=8.0, show_default=True, help=f"Least of a bigram, in bits. {_FITTED}"
)
@click.option(
    "--min-npmi",
    type=click.FloatRange(-1, 1),
    callback=_finite,
    default=None,
    help="Least normalised PMI of a bigram.  [default: any]",
)
@click.option(
    "--min-views", type=Threshold(int, 0), default=70, show_default=True, help=f"Least views of an article. {_FITTED}"
)
@click.option(
    "--limit", type=click.IntRange(1, 10**12), default=500_000, show_default=True, help="Terms at which the list stops."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=None,
    help="Worker processes.  [default: one a core, if --memory allows]",
)
@click.option("--memory", type=Bytes(), default=None, help="Of all processes together.  [default: half the machine's]")
@click.option(
    "--work", metavar="DIR", help="Keep counts here, for other thresholds.  [default: in --out, removed at the end]"
)
@click.option("--allow-damage", is_flag=True, help="Build the list although some of the input could not be read.")
@click.option("--out", required=True, metavar="DIR", help="Folder for the list, its report and its manifest.")
def build(
    dumps: tuple[str, ...],
    pageviews: tuple[str, ...],
    wordnets: tuple[str, ...],
    processes: int | None,
    memory: int | None,
    work: str | None,
    allow_damage: bool,
    out: str,
    **settings: Any,
) -> None:
    """Build the query list: words and bigrams of a dump, titles by page views, WordNet synsets.

    Stopped or killed, the same command goes on where it was.
    """
    if not (dumps or pageviews or wordnets):
        raise UserError("expected --dump, --pageviews or --wordnet, found none; see wit queries build --help")
    from queries.build import Means, Settings, most_processes
    from queries.build import build as build_list
    from queries.inputs import resolve_inputs

    inputs = resolve_inputs(dumps, pageviews, wordnets)
    machine = _machine_bytes()
    if memory is not None and memory > machine:
        raise UserError(
            f"--memory: expected at most the {machine >> 20:,} MiB that there are, found {memory >> 20:,} MiB"
        )
    memory = machine // 2 if memory is None else memory
    means = Means(processes or most_processes(memory), memory, work, allow_damage)
    result = build_list(inputs, Settings(**settings), out, means)
    if result is None:
        click.echo(f"{out}: already built from these inputs and settings; nothing to do")
        return
    for line in summary(result):
        click.echo(line)
    click.echo(f"see {out}/report.html")


def _machine_bytes() -> int:
    """Return the machine's memory, or less where a container is allowed less."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError), open(path) as file:  # the limit may be "max"
            sizes.append(int(file.read()))
    return min(sizes)


def summary(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table that ends a build: terms by source."""
    widths = {"listed": 10, "listed_first": 14, "duplicate": 12, "unmatchable": 14}
    lines = [f"{'source':<8}{'terms':>10}{'of them new':>14}{'duplicate':>12}{'unmatchable':>14}"]
    for source, facts in result["by_source"].items():
        lines.append(f"{source:<8}" + "".join(f"{facts[name]:>{width},}" for name, width in widths.items()))
    over = f", {result['num_over_limit']:,} more over the limit" if result["num_over_limit"] else ""
    lines.append(f"{'list':<8}{result['num_terms']:>10,}{over}")
    fitted = [f"{name} {each['value']}" for name, each in result["thresholds"].items() if each["fitted"]]
    return lines + ([f"fitted: {', '.join(fitted)}"] if fitted else [])


@queries.command(epilog="Example: wit queries show 'new york' --queries queries")
@click.argument("term")
@click.option(
    "--queries", "where", required=True, metavar="DIR|FILE", help="Folder of a query list, or its queries.parquet."
)
def show(term: str, where: str) -> None:
    """Show what each source says of TERM, and its neighbours; or why it is not in the list."""
    from queries.listing import find

    found = find(where, term)
    if found.row is None:
        raise UserError(found.absence())
    for line in found.lines():
        click.echo(line)


@queries.command(epilog="Example: wit queries diff queries-2025 queries-2026 --out changes.parquet")
@click.argument("before")
@click.argument("after")
@click.option("--out", metavar="FILE", help="Write every difference to a Parquet file.")
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 when the lists differ.")
def diff(before: str, after: str, out: str | None, fail_on_change: bool) -> int:
    """Compare two lists: terms that came, went, moved or changed, and the settings and inputs behind them."""
    from queries.difference import compare

    difference = compare(before, after, out)
    for line in difference.lines():
        click.echo(line)
    return 1 if fail_on_change and not difference.is_same else 0
