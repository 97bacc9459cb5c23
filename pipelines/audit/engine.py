"""The audit of training shards against evaluation sets: hash, search, measure, show.

The shards are judged by their own pixels, or by the prints in an index that stands, so any WebDataset can be audited.
What is written is a function of the files alone: not of processes, kills or the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.asking import Asked, Audit, ask
from pipelines.audit.comparing import Compared, compare, digest_of_images, illustrate
from pipelines.audit.outputs import SAMPLES_FILE, TABLES, Measured, measure, with_accuracies, write_making, write_tables
from pipelines.audit.work import Work, finish, opened
from pipelines.executors.parts import parts_of, read_batches, write_rows
from pipelines.report.overlap.calibration import shown_pairs, write_calibration
from pipelines.report.overlap.page import write_report
from pipelines.report.overlap.results import AuditResult, Calibration, SearchedSet
from wit import __version__
from wit.manifest import fingerprint_file
from wit.schema import OVERLAPPING
from wit.shards import MANIFEST, folder_of
from wit.storage import exists, join

MAX_BLANK = 0.05
"""Share of a set that may be blank before that is told; of CIFAR-10's test images it is 0.4 %."""

Say = Callable[[str], None]


def run_audit(audit: Audit, out: str, processes: int, say: Say = lambda _: None) -> AuditResult:
    """Compare, and write tables, pages and `audit.json` into the folder `out`; return what was found.

    A function of the files alone. A killed audit is finished by the same call. Memory in each process: the references
    (about 130 bytes for each turn of an image) and 600,000 samples; in this one the ten nearest samples of each image.
    Raises UserError for sets, shards or predictions that are not there or not what they should be.
    """
    asked = _ask(audit, out, say)
    with opened(out, processes) as work:
        compared = compare(work, asked, asked.thresholds)
        _tell_blank(asked, compared, say)
        making = _making(work, asked, compared)
        say(_line(making["shards"]))
        measured = [_measure(asked, compared, name) for name in asked.names]
        thumbs, matches = illustrate(work, asked, compared, compared.found)
        result = _result(asked, compared, measured, making)
        write_tables(out, result, measured, matches, compared.unreadable)
        write_rows(join(out, SAMPLES_FILE), OVERLAPPING, _rows(work, compared.samples, OVERLAPPING))
        write_report(out, result, matches, thumbs)
        write_making(out, making, TABLES)
        finish(work)
    return result


def run_calibration(audit: Audit, out: str, processes: int, command: str, say: Say = lambda _: None) -> Calibration:
    """Search beyond the thresholds, and write `calibrate.html`, from which they are chosen, into the folder `out`.

    `command` is that of the audit, without thresholds; for it the hashes stay. Raises what `run_audit` raises.
    """
    asked = _ask(audit, out, say)
    wider = {name: audit.method.wider(threshold) for name, threshold in asked.thresholds.items()}
    with opened(out, processes) as work:
        compared = compare(work, asked, wider)
        _tell_blank(asked, compared, say)
        num_items = Counter(compared.references["set"].to_pylist())
        sets = tuple(SearchedSet(name, num_items[name], asked.thresholds[name], wider[name]) for name in asked.names)
        rule = audit.method.in_words(asked.thresholds, audit.turns)
        calibration = Calibration(audit.shards, rule, sets, command, audit.method.unit)
        shown = shown_pairs(calibration, compared.found)
        thumbs, matches = illustrate(work, asked, compared, shown)
        write_calibration(out, calibration, matches, thumbs)
    return calibration


def _ask(audit: Audit, out: str, say: Say) -> Asked:
    asked = ask(audit, out)
    for listing in asked.listings:
        say(listing.line())
    return asked


def _tell_blank(asked: Asked, compared: Compared, say: Say) -> None:
    """Say of which sets the hashes miss much, for it is too blank to them: drawings, digits, signs."""
    least = asked.audit.method.min_quality
    for name in asked.names if least else ():
        quality = compared.references.filter(pc.equal(compared.references["set"], name))["quality"]
        num_blank = pc.sum(pc.less(quality, least)).as_py()
        if num_blank > MAX_BLANK * len(quality):
            say(
                f"{name}: {num_blank:,} of {len(quality):,} images have a quality below {least} and are compared by "
                "content alone; --min-quality 0 compares their hashes, too"
            )


def _measure(asked: Asked, compared: Compared, name: str) -> Measured:
    measured = measure(
        name,
        asked.thresholds[name],
        compared.references,
        compared.unreadable,
        compared.found,
        asked.audit.method.min_quality,
    )
    return with_accuracies(measured, asked.predictions.get(name))


def _result(asked: Asked, compared: Compared, measured: list[Measured], making: dict[str, Any]) -> AuditResult:
    audit = asked.audit
    digests = {"shards": making["shards"]["content_sha256"]}
    digests |= {each["set"]: each["content_sha256"] for each in making["sets"]}
    return AuditResult(
        audit.shards,
        audit.method.in_words(asked.thresholds, audit.turns),
        tuple(each.result for each in measured),
        unit=audit.method.unit,
        num_samples=making["shards"]["num_samples"],
        num_unreadable_samples=making["shards"]["num_unreadable"],
        versions={"wit": __version__, **{f"content of {name}": digest for name, digest in digests.items()}},
    )


def _line(shards: dict[str, Any]) -> str:
    """Return in one line what the shards held."""
    return f"{shards['path']}: {shards['num_samples']:,} samples, {shards['num_from_index']:,} prints from indexes"


def _making(work: Work, asked: Asked, compared: Compared) -> dict[str, Any]:
    """Return what `audit.json` says: from what the audit was made, and by which rule."""
    known = asked.audit.method.references[-1]
    return {
        "wit": __version__,
        "rule": {**asked.audit.method.making(), "turns": asked.audit.turns},
        "shards": {"path": asked.audit.shards, **_of_shards(work, asked, compared)},
        "sets": [
            {
                "set": each.set.name,
                "path": each.set.path,
                "format": each.format,
                "split": each.split,
                "threshold": asked.thresholds[each.set.name],
                "content_sha256": digest_of_images(parts_of(work.root, compared.tables[each.set.name]), known),
                "predictions": asked.predictions[each.set.name].url if each.set.name in asked.predictions else None,
            }
            for each in asked.listings
        ],
    }


def _of_shards(work: Work, asked: Asked, compared: Compared) -> dict[str, Any]:
    rows = compared.read.to_pylist()
    manifests = (join(folder, MANIFEST) for folder in dict.fromkeys(map(folder_of, asked.shards)))
    return {
        "num_shards": len(rows),
        "num_samples": sum(row["num_samples"] for row in rows),
        "num_from_index": sum(row["num_from_index"] for row in rows),
        "num_unreadable": compared.unreadable["set"].null_count,
        "content_sha256": digest_of_images(parts_of(work.root, compared.training), asked.audit.method.references[-1]),
        "manifests": [fingerprint_file(url) for url in manifests if exists(url)],
    }


def _rows(work: Work, table: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in parts_of(work.root, table):
        yield from read_batches(part, schema)
