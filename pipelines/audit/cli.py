"""The command `wit overlap`: thin; the work is in the modules beside this one."""

from __future__ import annotations

import math
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from wit.errors import UserError

if TYPE_CHECKING:
    from pipelines.audit.comparison import Twins
    from pipelines.audit.methods import ByHashes, Method
    from pipelines.report.overlap.results import AuditResult

ABOVE = 3
"""Exit code when the contamination of a set is above --fail-above: neither a mistake (2) nor a failure (1)."""


def _share(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the share that "0.1%" or "0.001" says."""
    if text is None:
        return None
    try:
        share = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise click.BadParameter(f"expected a share from 0 to 1, as 0.1% or 0.001, found {text!r}")
    return share


@click.command(
    epilog="Example: wit overlap shards --against cifar10=cifar-10-binary.tar.gz --against pets=pets/test --out audit"
)
@click.argument("shards")
@click.option(
    "--against", "sets", multiple=True, metavar="NAME=[FORMAT:]EVALSET", help="An evaluation set; repeatable."
)
@click.option("--with", "other", metavar="SHARDS2", help="Compare with another training set instead.")
@click.option("--itself", "is_itself", is_flag=True, help="Compare SHARDS with itself instead.")
@click.option("--out", required=True, metavar="DIR", help="Where the report and the tables go.")
@click.option("--hash", "hash_name", type=click.Choice(("phash", "pdq", "both")), help="[default: both]")
@click.option("--threshold", "thresholds", multiple=True, metavar="[NAME=]N", help="Greatest distance of a copy.")
@click.option("--turns", type=click.Choice(("none", "mirror", "all")), default="none", show_default=True)
@click.option("--min-quality", type=click.IntRange(0, 100), help="Blanker images match by content only.  [default: 50]")
@click.option("--descriptor", metavar="FILE", help="Compare vectors of this ONNX or TorchScript file, not hashes.")
@click.option("--calibrate", is_flag=True, help="Only write a page of neighbours, from which to choose thresholds.")
@click.option("--predictions", multiple=True, metavar="NAME=FILE", help="A model's predictions: did overlap matter?")
@click.option("--remove", "is_removing", is_flag=True, help="Then take the samples that match out of SHARDS.")
@click.option("--reason", metavar="TEXT", help="Why they go; it goes on record.  [with --remove]")
@click.option("--yes", is_flag=True, help="Do not ask before --remove.")
@click.option("--fail-above", callback=_share, metavar="SHARE", help="Exit with 3 above it: 0.1% or 0.001.")
@click.option("--pixels", is_flag=True, help="Hash the pixels of all samples: take no print from an index.")
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes.  [default: one a core]")
def overlap(
    shards: str,
    sets: tuple[str, ...],
    other: str | None,
    is_itself: bool,
    out: str,
    hash_name: str | None,
    thresholds: tuple[str, ...],
    turns: str,
    min_quality: int | None,
    descriptor: str | None,
    calibrate: bool,
    predictions: tuple[str, ...],
    is_removing: bool,
    reason: str | None,
    yes: bool,
    fail_above: float | None,
    pixels: bool,
    processes: int | None,
) -> int:
    """Find the images of evaluation sets in the training shards SHARDS (a folder, or a pattern of tars).

    Writes DIR/report.html with every matched pair, and tables: sets, items (overlap, clean or unreadable), matches,
    samples (all that match, for wit shards remove) and unreadable.parquet. A killed command is finished by the same.
    Thresholds are bits of the hash (of both: of PDQ), or 1 - cosine; choose them with --calibrate. Exit code 3 when
    the contamination of a set is above --fail-above.
    """
    from pipelines.audit.asking import Audit
    from pipelines.audit.comparison import Twins
    from pipelines.audit.engine import run_audit, run_calibration
    from pipelines.audit.outputs import format_table

    num_processes = processes or os.cpu_count() or 1
    method = _method(hash_name, min_quality, descriptor)
    audit = Audit(shards, sets, method, thresholds, turns, not pixels, predictions)
    if [bool(sets), other is not None, is_itself].count(True) != 1:
        raise UserError("expected one of --against NAME=EVALSET, --with SHARDS2 and --itself; see wit overlap --help")
    _require_together(is_removing, reason, yes, calibrate, fail_above)
    if not sets:
        _require_plain(calibrate, predictions, is_removing, fail_above, turns)
        _compare(Twins(shards, other, _by_hashes(method), thresholds, not pixels), out, num_processes)
        return 0
    if calibrate:
        run_calibration(audit, out, num_processes, _command_without_thresholds(), _say)
        click.echo(f"{out}/calibrate.html: choose a --threshold for each set from its pairs")
        return 0
    if is_removing:
        _check_removal(shards, reason, yes)
    result = run_audit(audit, out, num_processes, _say)
    click.echo(format_table(result))
    if result.num_unreadable_samples:
        _say(f"{result.num_unreadable_samples:,} training samples cannot be decoded: {out}/unreadable.parquet")
    click.echo(f"{out}/report.html")
    if is_removing:
        _remove(shards, out, str(reason), yes, num_processes)
    return _tell_above(result, fail_above)


def _require_together(
    is_removing: bool, reason: str | None, yes: bool, calibrate: bool, fail_above: float | None
) -> None:
    """Raise UserError for an option that would do nothing beside, or without, another."""
    alone = {"--reason": reason is not None, "--yes": yes}
    for option, is_given in alone.items():
        if is_given and not is_removing:
            raise UserError(f"{option}: expected --remove beside it, found none; add that, or leave it out")
    late = {"--remove": is_removing, "--fail-above": fail_above is not None}
    for option, is_given in late.items():
        if is_given and calibrate:
            raise UserError(f"{option}: expected no --calibrate beside it, which only writes a page; leave one out")


def _require_plain(
    calibrate: bool, predictions: tuple[str, ...], is_removing: bool, fail_above: float | None, turns: str
) -> None:
    """Raise UserError for an option that a comparison of training sets has no use for."""
    given = {
        "--calibrate": calibrate,
        "--predictions": bool(predictions),
        "--remove": is_removing,
        "--fail-above": fail_above is not None,
        "--turns": turns != "none",
    }
    for option, is_given in given.items():
        if is_given:
            raise UserError(f"{option}: expected --against beside it, found --with or --itself; leave it out")


def _by_hashes(method: Method) -> ByHashes:
    from pipelines.audit.methods import ByHashes

    if not isinstance(method, ByHashes):
        raise UserError("--descriptor: expected --against beside it, found --with or --itself; leave it out")
    return method


def _compare(twins: Twins, out: str, processes: int) -> None:
    from pipelines.audit.comparison import format_comparison, run_comparison

    click.echo(format_comparison(run_comparison(twins, out, processes)))
    click.echo(f"{out}/report.html")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _method(hash_name: str | None, min_quality: int | None, descriptor: str | None) -> Method:
    from pipelines.audit.methods import ByDescriptor, ByHashes
    from wit.near import MIN_QUALITY, copy_rule

    if descriptor is None:
        quality = MIN_QUALITY if min_quality is None else min_quality
        return ByHashes(copy_rule(cast(Any, hash_name or "both"), quality))
    if hash_name or min_quality is not None:
        raise UserError("--descriptor: expected no --hash and no --min-quality beside it: vectors are compared instead")
    return ByDescriptor(descriptor)


def _command_without_thresholds() -> str:
    """Return the command as it was typed, but --calibrate and the thresholds."""
    words, kept = sys.argv[1:], ["wit"]
    while words:
        word = words.pop(0)
        if word == "--threshold":
            words = words[1:]
        elif word != "--calibrate" and not word.startswith("--threshold="):
            kept.append(word)
    return shlex.join(kept)


def _check_removal(shards: str, reason: str | None, yes: bool) -> None:
    """Raise UserError now for what would fail after the audit."""
    from wit.integrity import shards_of
    from wit.shards import MAKE_INDEX, find_index
    from wit.storage import exists

    if not reason or not reason.strip():
        raise UserError("--remove: expected --reason TEXT, why the samples go, found none")
    found, is_folder = shards_of(shards)
    if not is_folder:
        raise UserError(f"{shards}: expected a folder of shards for --remove, found a pattern")
    bare = [shard for shard in found if not exists(find_index(shard))]
    if bare:
        raise UserError(f"{bare[0]}: expected an index beside it for --remove, found none; {MAKE_INDEX}")
    if not yes and not sys.stdin.isatty():
        raise UserError("--remove: expected --yes where nobody can be asked, found none")


def _remove(shards: str, out: str, reason: str, yes: bool, processes: int) -> None:
    """Take out the samples that the audit found, after asking."""
    from pipelines.audit.outputs import SAMPLES_FILE
    from pipelines.shardset.removing import remove_samples
    from pipelines.shardset.rules import make_rules, read_list
    from wit.storage import join

    table = join(out, SAMPLES_FILE)
    pairs = read_list(table)
    if not pairs:
        click.echo("nothing to remove")
        return
    command = ["wit", "shards", "remove", shards, "--list", table, "--reason", reason]
    click.echo(shlex.join(command))
    if not yes and not click.confirm(f"Remove {len(pairs):,} samples for good?"):
        click.echo("nothing was removed; this command does it")
        return
    removed = remove_samples(shards, make_rules(pairs), reason, processes)
    click.echo(f"removed {len(removed.rows):,} samples from {removed.num_shards:,} shards")


def _tell_above(result: AuditResult, fail_above: float | None) -> int:
    """Tell the sets whose contamination is above a share; return the exit code."""
    found = [each.contamination for each in result.sets]
    above = [each for each in found if fail_above is not None and each.share > fail_above]
    if above:
        named = ", ".join(f"{each.set} ({each.share:.2%})" for each in above)
        click.echo(f"contamination above {100 * (fail_above or 0):g} %: {named}", err=True)
    return ABOVE if above else 0
