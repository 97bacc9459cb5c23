"""`wit evaluate-set`: the paper's evaluation sets, listed; and the two of them that are built by recipe."""

from __future__ import annotations

from os.path import splitext

import click

from trainer.evaluation.suite.finding import find_suite
from trainer.evaluation.suite.tasks import TASKS


@click.group("evaluate-set")
def evaluate_set() -> None:
    """List the paper's evaluation sets, and build two of them."""


@evaluate_set.command("list", epilog="Example: wit evaluate-set list kornblith")
@click.argument("suite", default="paper")
def list_tasks(suite: str) -> None:
    """Show the sets of a SUITE (paper, kornblith, or a set's name): classes, images, metric, and where they are.

    "!" marks what does not fit in the paper's Table 9, or in its prompts.
    """
    tasks = find_suite(suite)
    width = max(len(task.name) for task in tasks)
    click.echo(f"  {'set':<{width}}  {'classes':>7}  {'train':>9}  {'test':>6}  metric")
    for task in tasks:
        mark = "!" if task.note else " "
        click.echo(
            f"{mark} {task.name:<{width}}  {task.num_classes:>7,}  {task.num_train:>9,}  {task.num_test:>6,}  "
            f"{task.metric}\n  {'':<{width}}  {task.where}"
            + (f"\n  {'':<{width}}  ! {task.note}" if mark == "!" else "")
        )


@evaluate_set.command(
    epilog="Example: wit evaluate-set country211 'yfcc100m_dataset-*.bz2' --borders countries.geojson --images photos "
    "--out eval/country211"
)
@click.argument("photos")
@click.option("--borders", default="", metavar="FILE", help="GeoJSON of countries with ISO codes, as Natural Earth's.")
@click.option("--images", default="", metavar="FOLDER", help="Photos, named as their ids.  [default: list them only]")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    help="A new folder, or one that the same command has begun: images by split and country, items.csv, names.txt.",
)
@click.option("--train", default=150, show_default=True, type=click.IntRange(min=0), help="Images of each country.")
@click.option("--validation", default=50, show_default=True, type=click.IntRange(min=0))
@click.option("--test", default=100, show_default=True, type=click.IntRange(min=1))
def country211(photos: str, borders: str, images: str, out: str, **num_images: int) -> None:
    """Build a set like Country211 of PHOTOS: YFCC100M's list, or a Parquet file with key, longitude and latitude."""
    import hashlib
    from dataclasses import astuple

    from trainer.evaluation.suite.borders import read_borders
    from trainer.evaluation.suite.building import begin, draw_once
    from trainer.evaluation.suite.country211 import SALT, Draw, Quotas, build, draw
    from trainer.evaluation.suite.photos import read_photos
    from wit.manifest import fingerprint_inputs
    from wit.patterns import walk_files
    from wit.progress import progress
    from wit.storage import base_name

    quotas = Quotas(**num_images)
    outlines = read_borders(borders) if borders else None
    files = {splitext(base_name(url))[0]: url for url in walk_files(images)} if images else {}
    made_from = {
        "photos": sorted(fingerprint_inputs([photos]).values()),
        "borders": list(fingerprint_inputs([borders]).values()) if borders else [],
        "images": hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest(),
        "quotas": list(astuple(quotas)),
        "salt": SALT,
    }
    begin(out, "country211", made_from)
    with progress("draw", None, "photos") as advance:
        found = read_photos(photos), outlines, lambda key: not images or key in files, quotas, advance
        drawn = Draw.of(draw_once(out, lambda: draw(*found).to_json()))
    titles = dict(zip(outlines.codes, outlines.names, strict=True)) if outlines else {}
    with progress("build", len(drawn.by_country), "countries") as advance:
        built = build(out, drawn, files, quotas, titles, advance)
    for reason, num in built.dropped.items():
        click.echo(f"  {reason}: {num:,}")
    published = TASKS["Country211"].num_classes
    click.echo(f"{out}: {built.num_images:,} images of {len(built.countries)} countries (the paper's: {published})")


@evaluate_set.command(
    "rendered-sst2", epilog="Example: wit evaluate-set rendered-sst2 stanford-sentiment/trees --out eval/rendered-sst2"
)
@click.argument("sentences")
@click.option("--font", default="", metavar="FILE", help="TrueType or OpenType.  [default: DejaVu Sans]")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder, or one that the same command has begun.")
def rendered_sst2(sentences: str, font: str, out: str) -> None:
    """Draw the SENTENCES of SST-2, a folder with train.txt, dev.txt and test.txt of the treebank, or .tsv files."""
    from trainer.evaluation.suite.rendered_sst2 import PUBLISHED, build, find_files, is_as_published
    from wit.progress import progress

    with progress("draw", None, "sentences") as advance:
        counts = build(out, find_files(sentences), font, advance)
    for split, count in counts.items():
        same = "as published" if is_as_published(split, count) else f"published: {sum(PUBLISHED[split]):,}"
        click.echo(f"  {split}: {count['negative']:,} negative, {count['positive']:,} positive; {same}")
    click.echo(f"{out}: {sum(count.total() for count in counts.values()):,} images")
