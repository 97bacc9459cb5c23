"""The commands of `wit shards`: thin; the work is in the modules beside this one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from wit.errors import UserError


@click.group()
def shards() -> None:
    """Check, index, change and convert shards."""


_processes = click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    callback=lambda context, option, given: given or os.cpu_count() or 1,
    help="Worker processes.  [default: one a core]",
)


def _sized(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how large new shards are."""
    samples = click.IntRange(1, 1_000_000)
    command = click.option("--bytes", "num_bytes", type=click.IntRange(1), help="Most bytes of a shard.")(command)
    return click.option("--size", type=samples, help="Samples of a shard.  [default: 10000, or what --bytes allows]")(
        command
    )


def _described(folder: str, described: dict[str, Any]) -> str:
    return f"{folder}: {described['num_samples']:,} samples in {len(described['shards']):,} shards"


@shards.command(epilog="Example: wit shards verify runs/tiny/shards")
@click.argument("shards")
@_processes
def verify(shards: str, processes: int) -> int:
    """Check SHARDS (a folder, or a pattern of tars) against their index and manifest.

    A line a problem; exit code 1 when there is one.
    """
    from pipelines.shardset.verification import verify as verify_shards
    from wit.integrity import shards_of
    from wit.progress import progress

    with progress("verify", len(shards_of(shards)[0]), "shards") as advance:
        report = verify_shards(shards, processes, advance)
    for problem in report.problems:
        click.echo(problem)
    click.echo(f"{report.num_shards:,} shards, {report.num_samples:,} samples, {len(report.problems):,} problems")
    return 1 if report.problems else 0


@shards.command(epilog="Example: wit shards index downloaded --out indexed")
@click.argument("tars")
@click.option("--out", metavar="DIR", help="Put the indexes here, with links to the tars.  [default: beside the tars]")
@click.option("--prints", is_flag=True, help="Hash the images too, so that no overlap audit need decode them again.")
@_processes
def index(tars: str, out: str | None, prints: bool, processes: int) -> int:
    """Make indexes of TARS (a folder, or a pattern) that somebody else made, as img2dataset does.

    Any member names; images, captions (.txt, .caption or a field of .json) and URLs are found. The index of X.tar is
    X.index.parquet; nothing that is there is written over. Then all other commands, and wit train, read the tars. Exit
    code 1 when a tar could not be indexed.
    """
    from pipelines.shardset.indexing import index_tars

    found = index_tars(tars, out, processes, with_prints=prints)
    broken = [each for each in found.tars if each.problem]
    for each in broken:
        click.echo(f"not indexed: {each.problem}")
    num_samples, left_out, unreadable = (
        sum(getattr(each, name) for each in found.tars) for name in ("num_samples", "left_out", "unreadable")
    )
    click.echo(
        f"{len(found.tars) - len(broken):,} tars, {num_samples:,} samples; left out: {left_out:,} without an image (or "
        f"one of over 256 MiB); {unreadable:,} images cannot be read"
    )
    click.echo(f"keys: {'TAR/STEM, for stems of several tars are equal' if found.has_tar_names else 'the stems'}")
    return 1 if broken else 0


@shards.command(epilog="Example: wit shards split runs/tiny/shards --into train=0.9 --into val=0.1 --out parts")
@click.argument("shards")
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@_sized
@click.option("--into", multiple=True, metavar="NAME=SHARE", help="A part of the samples, in DIR/NAME.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives other parts.")
@_processes
def split(
    shards: str,
    out: str,
    size: int | None,
    num_bytes: int | None,
    into: tuple[str, ...],
    seed: int,
    processes: int,
) -> None:
    """Write the samples of SHARDS as shards of another size, or as parts by the hash of their keys.

    The order stays. A sample goes to the same part whatever else is in SHARDS. The same command finishes a killed one.
    """
    from pipelines.shardset.cutting import limit_of
    from pipelines.shardset.splitting import parse_shares, resplit, split_into

    if not (size or num_bytes or into):
        raise UserError("expected --size, --bytes or --into, found none; see wit shards split --help")
    limit = limit_of(size, num_bytes)
    if into:
        made = split_into(shards, out, parse_shares(into), limit, seed, processes)
    else:
        made = resplit(shards, out, limit, processes)
    for folder, described in made.items():
        click.echo(_described(folder, described))


@shards.command(epilog="Example: wit shards sample runs/tiny/shards --num 100 --out few")
@click.argument("shards")
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@click.option("--num", type=click.IntRange(1), required=True, help="Samples to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed draws other samples.")
@_sized
@_processes
def sample(shards: str, out: str, num: int, seed: int, size: int | None, num_bytes: int | None, processes: int) -> None:
    """Write some samples of SHARDS, drawn by the hash of seed and key, as shards of their own.

    With the same seed a smaller sample is a part of a larger one. A killed command is finished by the same.
    """
    from pipelines.shardset.cutting import limit_of
    from pipelines.shardset.splitting import draw

    made = draw(shards, out, num, seed, limit_of(size, num_bytes), processes)
    click.echo(_described(out, made[out]))


@shards.command(epilog="Example: wit shards merge runs/a/shards runs/b/shards --out both")
@click.argument("sets", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@_sized
@_processes
def merge(sets: tuple[str, ...], out: str, size: int | None, num_bytes: int | None, processes: int) -> None:
    """Write the samples of several SETS of shards as one, in the order of their keys.

    Of samples with one key the first set's stays. What was removed from one of the sets is left out of all. A killed
    command is finished by the same.
    """
    from pipelines.shardset.cutting import limit_of
    from pipelines.shardset.merging import merge as merge_sets

    counts, described = merge_sets(sets, out, limit_of(size, num_bytes), processes)
    click.echo(_described(out, described))
    click.echo(
        f"left out: {counts.duplicates:,} that an earlier set has, {counts.conflicts:,} whose key an earlier set has "
        f"with another image, {counts.removed:,} that were removed before"
    )


@shards.command(epilog="Example: wit shards remove runs/tiny/shards --domain example.org --reason 'asked by its owner'")
@click.argument("shards")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The sample with this key.")
@click.option("--url", "urls", multiple=True, metavar="URL", help="Samples whose image was asked for at this URL.")
@click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="Images of this domain and all below it.")
@click.option("--sha256", "hashes", multiple=True, metavar="HEX", help="Samples with this stored image.")
@click.option("--list", "lists", multiple=True, metavar="FILE", help="Keys, URLs, hashes: one a line, or Parquet.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it goes on record.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_processes
def remove(
    shards: str,
    keys: tuple[str, ...],
    urls: tuple[str, ...],
    domains: tuple[str, ...],
    hashes: tuple[str, ...],
    lists: tuple[str, ...],
    reason: str,
    dry_run: bool,
    processes: int,
) -> None:
    """Take samples out of the folder SHARDS for good, and put on record what went and why (removals.parquet).

    Only the shards concerned are written anew. A killed command is finished by the same; until then wit shards verify
    says that a removal is under way. --list DIR/removals.parquet does the same removals to another set.
    """
    from pipelines.shardset.removing import MAX_TOLD, remove_samples
    from pipelines.shardset.rules import make_rules, read_list

    given = {"key": keys, "url": urls, "domain": domains, "sha256": hashes}
    pairs = [(kind, value) for kind, values in given.items() for value in values]
    pairs += [pair for url in lists for pair in read_list(url)]
    if not pairs:
        raise UserError("expected --key, --url, --domain, --sha256 or a --list with a line, found none")
    if not reason.strip():
        raise UserError("--reason: expected why the samples go, found nothing")
    removed = remove_samples(shards, make_rules(pairs), reason, processes, dry_run=dry_run)
    if len(removed.finished):
        click.echo(f"finished an earlier removal of {len(removed.finished):,} samples")
    for value in removed.unmatched[:MAX_TOLD]:
        click.echo(f"not in the shards: {value!r}")
    if len(removed.unmatched) > MAX_TOLD:
        click.echo(f"not in the shards: {len(removed.unmatched) - MAX_TOLD:,} more")
    would = "would remove" if dry_run else "removed"
    click.echo(f"{would} {len(removed.rows):,} samples from {removed.num_shards:,} shards")


@shards.command(epilog="Example: wit shards export runs/tiny/shards --to huggingface --out exported")
@click.argument("shards")
@click.option("--to", "layout", type=click.Choice(("img2dataset", "parquet", "huggingface")), required=True)
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@click.option(
    "--size", "max_samples", type=click.IntRange(0), help="Samples of a file, 0: any.  [default: 10000 a tar]"
)
@click.option(
    "--bytes", "max_bytes", type=click.IntRange(0), help="Bytes of a file, 0: any.  [default: 500000000 a Parquet file]"
)
@_processes
def export(shards: str, layout: str, out: str, max_samples: int | None, max_bytes: int | None, processes: int) -> None:
    """Write SHARDS (a folder, or a pattern of tars) in the layout of img2dataset, as Parquet, or for Hugging Face.

    Stop it or kill it at any time: the same command does the rest. Images and captions stay byte for byte.
    """
    from pipelines.shardset.export import Export, prepare_export, run_export
    from wit.progress import progress

    asked = Export(shards, layout, out, max_samples, max_bytes)
    planned = prepare_export(asked)
    with progress("export", planned.num_samples, "samples") as advance:
        run_export(asked, planned, processes, advance)
    click.echo(f"{out}: {planned.num_samples:,} samples in {len(planned.pieces):,} files")


@shards.command(epilog="Example: wit shards show runs/tiny/shards --query 'red circle' --out sheet.html")
@click.argument("shards")
@click.option("--out", required=True, metavar="FILE", help="The page.")
@click.option("--num", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Samples to show.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed shows other samples.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only samples with this value in the index.")
@click.option("--query", default="", metavar="TERM", help="Only samples that match this query (or its number).")
@click.option("--domain", default="", metavar="DOMAIN", help="Only images from this domain, or one below it.")
@click.option("--queries", default="", metavar="PARQUET", help="The query list, for the names of queries.")
@click.option("--run", default="", metavar="RUN", help="Or the run that has it.  [default: the one around SHARDS]")
def show(
    shards: str,
    out: str,
    num: int,
    seed: int,
    where: tuple[str, ...],
    query: str,
    domain: str,
    queries: str,
    run: str,
) -> None:
    """Write a contact sheet of SHARDS (a folder, or a pattern of tars): pictures, captions, queries, addresses.

    One page that works without a network. The samples are drawn at random, the same ones each time.
    """
    from pipelines.shardset.making import open_set
    from pipelines.shardset.show import Selection, contact_sheet
    from pipelines.shardset.terms import read_terms
    from wit.progress import progress
    from wit.storage import publish_text

    found = open_set(shards)
    selection = Selection(num, seed, where, query, domain)
    with progress("show", len(found), "shards") as advance:
        page = contact_sheet(found, shards, selection, read_terms(shards, queries, run), advance)
    publish_text(out, page)
    click.echo(out)
