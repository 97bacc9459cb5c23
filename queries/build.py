"""Building the query list: count the dumps, sum the page views, unite the sources, publish.

What is finished lies in a work folder: each part of a dump once it is counted, each file of page views once it is
summed. A build that was killed goes on from there; a build with other thresholds and the same work folder counts
nothing again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from queries.counting import compile_kernels, count_dumps, count_views
from queries.dumps import Dump, MultistreamIndex, open_dump
from queries.inputs import Inputs, hash_files, local_copies
from queries.merging import MergeSettings, merge_runs
from queries.report import write_report
from queries.titles import write_titles
from queries.union import TABLE, UNMATCHABLE_TABLE, Candidates, Thresholds, unite
from queries.wikipedia import ENGLISH_NAMESPACES, Damage, Site, site_of
from queries.wordnet import Lemmas, data_files, write_synsets
from queries.work import WORK, folder_for, remove_leftovers, work_folder
from wit import manifest
from wit.errors import InputError, MismatchError, UserError
from wit.locking import LOCK, locked
from wit.processes import Pool
from wit.storage import join, list_names, make_folder, publish_text, read_parquet, remove

KIND = "queries"
TEXT, REPORT, DAMAGE, MANIFEST = "queries.txt", "report.html", "damage.jsonl", "manifest.json"
OUTPUTS = (TABLE, TEXT, UNMATCHABLE_TABLE, REPORT)

MAX_TOLD = 100
"""Damaged places that the manifest and the report tell of; damage.jsonl has all."""

PROCESS_BYTES = 256 << 20
"""Of a process, the first one included, beside its counts: interpreter, libraries, and what it reads and writes."""
LEAST_BYTES = 64 << 20
"""For the counts of a process."""


@dataclass(frozen=True)
class Settings:
    """What decides the list, beside its inputs. A threshold may be "fit": the list then fills to its limit."""

    language: str = "en"
    lemmas: Lemmas = "heads"
    """The terms of a synset: its head, or all its lemmas."""
    min_word_count: int | str = 100
    min_bigram_count: int = 100
    min_pmi: float | str = 8.0
    """In bits."""
    min_npmi: float | None = None
    min_views: int | str = 70
    limit: int = 500_000

    def thresholds(self) -> Thresholds:
        """Return what the union asks of candidates."""
        return Thresholds(**{each.name: getattr(self, each.name) for each in fields(Thresholds)})


@dataclass(frozen=True)
class Means:
    """How a list is built; decides nothing of what is in it."""

    processes: int
    memory_bytes: int
    """Of all processes together."""
    work: str | None = None
    """Folder that keeps what was counted; None for one in the output folder, removed at the end."""
    allow_damage: bool = False
    """Whether the list is built although some of the input could not be read."""

    @property
    def each_bytes(self) -> int:
        """Return what each process has for its counts; raises UserError when that is too little."""
        each_bytes = (self.memory_bytes - PROCESS_BYTES) // self.processes - PROCESS_BYTES
        if each_bytes < LEAST_BYTES:
            least = (self.processes * (PROCESS_BYTES + LEAST_BYTES) + PROCESS_BYTES) >> 20
            raise UserError(
                f"--memory: expected at least {least:,} MiB for {self.processes} processes, found "
                f"{self.memory_bytes >> 20:,} MiB; give more memory or fewer --processes"
            )
        return each_bytes

    @property
    def joint_bytes(self) -> int:
        """Return what one process has that works alone."""
        return self.memory_bytes - PROCESS_BYTES


def most_processes(memory_bytes: int) -> int:
    """Return how many processes there may be, by the cores and by what each needs; at least one."""
    return max(1, min(os.cpu_count() or 1, (memory_bytes - PROCESS_BYTES) // (PROCESS_BYTES + LEAST_BYTES)))


def build(inputs: Inputs, settings: Settings, out: str, means: Means) -> dict[str, Any] | None:
    """Write the list, its report and its manifest to the folder `out`; return the manifest's result.

    Returns None when the folder already holds the list of these inputs, settings and code. The bytes written depend
    neither on `means` nor on how often the build was killed. Raises InputError for an input that is missing, is
    damaged (unless allowed) or of another language, MismatchError for a folder that holds something else, OutputError
    when it cannot be written.
    """
    made_from = _made_from(inputs, settings)
    with locked(out, "wit queries build"):
        finished = not _claim(out, made_from)
        remove_leftovers(out, finished)
        if finished:
            _require_allowed(out, means)
            return None
        with work_folder(out, means.work, made_from["code"]) as work:
            return _build(inputs, settings, out, means, made_from, work)


def _made_from(inputs: Inputs, settings: Settings) -> dict[str, Any]:
    wordnet_files = [file for folder in inputs.wordnets for file in data_files(folder)]
    return {
        "settings": asdict(settings),
        "inputs": {
            "dumps": manifest.fingerprint_inputs(inputs.dumps),
            "pageviews": manifest.fingerprint_inputs(inputs.pageviews),
            "wordnets": manifest.fingerprint_inputs(wordnet_files),
        },
        "code": manifest.fingerprint_code("queries", "wit"),
    }


def _claim(out: str, made_from: dict[str, Any]) -> bool:
    """Make the folder ours; return False when it already holds the finished list."""
    names = [name for name in list_names(out) if name not in (LOCK, WORK)]
    remedy = "choose another --out, or remove this folder"
    if MANIFEST not in names:
        if names:
            raise MismatchError(
                f"{out}: expected an empty folder or a query list, found {names[0]!r} and no {MANIFEST}; {remedy}"
            )
        manifest.write(join(out, MANIFEST), {"kind": KIND, "made_from": made_from})
        return True
    before = manifest.read(join(out, MANIFEST))
    if before.get("kind") != KIND or "made_from" not in before:
        raise MismatchError(f"{out}: expected a query list, found a {MANIFEST} of something else; {remedy}")
    if not set(names) & set(OUTPUTS):  # a build that an input's fault ended
        manifest.write(join(out, MANIFEST), {"kind": KIND, "made_from": made_from})
        return True
    manifest.require_same(out, before["made_from"], made_from, remedy)
    finished = before.get("written") == {
        name: manifest.fingerprint_file(join(out, name)) for name in OUTPUTS if name in names
    }
    return not finished


def _build(
    inputs: Inputs, settings: Settings, out: str, means: Means, made_from: dict[str, Any], work: str
) -> dict[str, Any]:
    local = local_copies([*inputs.dumps, *inputs.pageviews], os.path.join(work, "inputs"))
    marks = {**made_from["inputs"]["dumps"], **made_from["inputs"]["pageviews"]}
    dumps = {folder_for(work, "dump", url, marks[url]): dump for url, dump in _open_dumps(inputs, settings, local)}
    files = {folder_for(work, "views", url, marks[url]): local[url] for url in inputs.pageviews}
    site = next(iter(dumps.values())).site if dumps else _site_without_dump(settings.language)
    with closing(Pool(means.processes)) as pool:
        hashes = hash_files(local, pool)
        if dumps:
            compile_kernels(pool)
        counted = count_dumps(dumps, means.each_bytes, pool)
        views = count_views(files, site, means.each_bytes, pool)
        pool.close()  # what its processes still hold of counting is memory that the merge is promised
        names = {path: url for url, path in local.items()}
        damage = [replace(each, url=names[each.url]) for each in counted.damage + views.damage]
        _tell(damage, out, means.allow_damage)
        _require_views(inputs, views.lines, site, settings.language)
        folder = os.path.join(work, "union")
        make_folder(folder)
        merged = merge_runs(counted.runs, folder, _merge_settings(settings, means), pool)
    paths = [os.path.join(folder, f"{name}.parquet") for name in ("words", "bigrams", "titles", "synsets")]
    least = settings.min_views // 2 if isinstance(settings.min_views, int) else 0
    fates = write_titles(views.files, counted.pages if dumps else None, site, paths[2], least, means.joint_bytes)
    write_synsets(inputs.wordnets, settings.lemmas, paths[3])
    united = unite(Candidates(*paths), settings.thresholds(), out, folder, means.joint_bytes)
    facts = {
        **united.to_json(),
        **{name: value for name, value in asdict(merged).items() if name.startswith("num_")},
        "pages": dict(counted.kinds),
        "pageview_lines": dict(views.lines),
        "titles": {"articles": fates.pop("kept", 0) + fates.pop("below_threshold", 0), **fates},
        **_damage_facts(damage),
    }
    _publish(out, made_from, hashes, facts)
    return facts


def _damage_facts(damage: list[Damage]) -> dict[str, Any]:
    return {
        "num_damaged": len(damage),
        "num_lost_pages": sum(each.pages or 0 for each in damage),
        "damage": [asdict(each) for each in damage[:MAX_TOLD]],
    }


def _open_dumps(inputs: Inputs, settings: Settings, local: dict[str, str]) -> Iterator[tuple[str, Dump]]:
    """Yield each dump with its URL; the index of a multistream dump is passed over when it is not alone."""
    begins: dict[tuple[str, str, str], str] = {}
    for url in inputs.dumps:
        try:
            dump = open_dump(local[url])
        except MultistreamIndex:
            if len(inputs.dumps) == 1:
                raise
            continue
        if dump.site.language not in ("", settings.language):
            found = f"found one in {dump.site.language!r}; see --language"
            raise InputError(f"{url}: expected a dump in {settings.language!r}, {found}")
        other = begins.setdefault((dump.site.language, dump.site.domain, dump.first_title or url), url)
        if other != url:  # one in two forms, or a whole and its first part
            found = f"found one that begins with {dump.first_title!r}, as {other} does; leave one of them out"
            raise InputError(f"{url}: expected dumps of different pages, {found}")
        yield url, dump


def _site_without_dump(language: str) -> Site:
    return site_of(language, ENGLISH_NAMESPACES if language == "en" else {})


def _tell(damage: list[Damage], out: str, allow: bool) -> None:
    """Write down what of the input could not be read; raises InputError when there is such, unless allowed."""
    path = join(out, DAMAGE)
    remove(path)
    if not damage:
        return
    publish_text(path, "".join(f"{json.dumps(asdict(each), ensure_ascii=False)}\n" for each in damage))
    if allow:
        return
    pages = sum(each.pages or 0 for each in damage)
    first = damage[0]
    raise InputError(
        f"{len(damage):,} place(s) of the input could not be read, {pages:,} page(s) or more are lost; the first: "
        f"{first.url} at byte {first.offset:,}: {first.reason}: {first.detail}; {path} has them all; fetch these files "
        "again, or build the list without what is lost: the same command and --allow-damage"
    )


def _require_views(inputs: Inputs, lines: Mapping[str, int], site: Site, language: str) -> None:
    """Raise InputError when there are page views, and all are of other wikis."""
    if lines.get("other_domain") and not lines.get("counted"):
        raise InputError(
            f"{inputs.pageviews[0]}: expected views of the wiki {site.domain or language!r}, found "
            f"{lines['other_domain']:,} lines of others in all files together; see --language"
        )


def _require_allowed(out: str, means: Means) -> None:
    """Raise InputError when a finished list lacks what could not be read, unless that is allowed this time, too."""
    num_damaged = manifest.read(join(out, MANIFEST), "result")["result"]["num_damaged"]
    if num_damaged and not means.allow_damage:
        raise InputError(
            f"{out}: expected a list of whole input, found one built with --allow-damage: {num_damaged:,} place(s) of "
            f"its input could not be read, see {join(out, DAMAGE)}; give --allow-damage, or fetch these files again"
        )


def _merge_settings(settings: Settings, means: Means) -> MergeSettings:
    """Return what of the bigrams is looked at: also those a bit below the threshold, for the report."""
    floor = settings.min_pmi - 1 if isinstance(settings.min_pmi, int | float) else None
    return MergeSettings(settings.min_bigram_count, floor, means.each_bytes * means.processes)


def _publish(out: str, made_from: dict[str, Any], hashes: dict[str, str], facts: dict[str, Any]) -> None:
    table = read_parquet(join(out, TABLE))
    publish_text(join(out, TEXT), "".join(f"{term}\n" for term in table.column("term").to_pylist()))
    write_report(
        table,
        facts,
        join(out, REPORT),
        made_from=made_from,
        unmatchable=read_parquet(join(out, UNMATCHABLE_TABLE)),
    )
    written = {name: manifest.fingerprint_file(join(out, name)) for name in OUTPUTS}
    whole = {"kind": KIND, "made_from": made_from, "sha256": hashes, "result": facts, "written": written}
    manifest.write(join(out, MANIFEST), whole)
