"""`wit encode` and `wit search`. Torch and the rest are imported when a command runs, not for --help."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from trainer.options import ACTIVATION, DEVICE, MERGES, choose_device
from wit.errors import MismatchError, UserError

if TYPE_CHECKING:
    from trainer.embedding.encoder import Embeddings, Encoder
    from trainer.embedding.folder import EmbeddingFolder
    from trainer.embedding.page import Query
    from trainer.embedding.search import Hit
    from trainer.embedding.sources import ImageSource, Texts
    from trainer.parallel.ranks import Ranks

MAX_HITS = 1_000
CACHE_BYTES = 8 << 30  # of remote shards while they are read
MAX_WORDS = 100  # characters of a caption on the terminal
PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the products in the model.",
)


_ASKING = ("checkpoint", "device", "merges", "activation")
_OPENING = ("device", "precision", "merges", "activation")


@click.command(epilog="Example: wit encode runs/tiny-clip --images runs/tiny/shards --out embeddings")
@click.argument("checkpoint")
@click.option(
    "--images", multiple=True, metavar="SHARDS|FOLDER", help="Shards, as wit train takes them, or a folder of images."
)
@click.option(
    "--texts", multiple=True, metavar="FILE", help="Captions: a text file, one a line, or a Parquet file's column."
)
@click.option("--captions/--no-captions", default=True, help="Embed the captions of shards too.  [default: yes]")
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@click.option(
    "--format",
    type=click.Choice(["parquet", "npy"]),
    default="parquet",
    show_default=True,
    help="npy: embeddings beside the tables, not in them.",
)
@click.option(
    "--numbers", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True, help="Of what is kept."
)
@click.option(
    "--part-rows",
    type=click.IntRange(1),
    default=32_768,
    show_default=True,
    help="What a killed command does again, at most.",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 1 << 20), default=256, show_default=True, help="In the model at once."
)
@PRECISION
@MERGES
@ACTIVATION
@DEVICE
def encode(checkpoint: str, images: tuple[str, ...], texts: tuple[str, ...], out: str, **options: Any) -> None:
    """Embed images and captions with a CHECKPOINT.

    A checkpoint is its folder, a run (its newest), or a file of weights of CLIP. The same command again goes on where
    it was stopped; under torchrun, the ranks share the work.
    """
    from trainer.embedding.encode import CACHE, Encoding, num_rows
    from trainer.embedding.encode import encode as run_encoding
    from trainer.embedding.sources import find_images, read_texts
    from trainer.loader.cache import RangeCache
    from trainer.parallel.progress import shared_progress
    from trainer.parallel.ranks import find_ranks
    from wit.storage import is_remote, join

    if not images and not texts:
        raise UserError("expected something to embed, found nothing; name it with --images or --texts")
    ranks = find_ranks()
    encoder = _open(checkpoint, ranks, **{name: options.pop(name) for name in _OPENING})
    open_cache = (lambda: None) if is_remote(out) else partial(RangeCache, join(out, CACHE), CACHE_BYTES)
    sources: list[ImageSource | Texts] = [find_images(path, open_cache) for path in images]
    sources += map(read_texts, texts)
    how = Encoding(**options, num_threads=ranks.num_cores)
    with shared_progress(ranks, "encode", num_rows(sources, how, ranks), "rows") as advance:
        done = run_encoding(encoder, sources, out, how, ranks, advance)
    rejected = f"; {done.num_rejects:,} images could not be read, see {out}/rejects" if done.num_rejects else ""
    more = "" if done.is_whole else " so far; other ranks are at work"
    click.echo(f"{out}: {done.num_images:,} images and {done.num_texts:,} captions embedded{more}{rejected}")


def _open(checkpoint: str, ranks: Ranks, device: str, **options: str) -> Encoder:
    from trainer.embedding.encoder import open_encoder
    from trainer.parallel.ranks import own_device

    return open_encoder(checkpoint, own_device(choose_device(device), ranks), **options)


@click.command(epilog="Example: wit search embeddings 'a red circle' --page found.html")
@click.argument("embeddings")
@click.argument("words", nargs=-1)
@click.option("--image", "images", multiple=True, metavar="FILE", help="Look for what is like this image.")
@click.option("--checkpoint", help="The model of the embeddings.  [default: the one that they were made with]")
@MERGES
@ACTIVATION
@click.option("-k", "k", type=click.IntRange(1, MAX_HITS), default=10, show_default=True, help="Hits of a query.")
@click.option("--among", type=click.Choice(["images", "texts"]), default="images", show_default=True)
@click.option("--page", metavar="FILE", help="Write an HTML page with the pictures.")
@click.option("--json", "json_file", metavar="FILE", help="Write the hits as JSON.")
@DEVICE
def search(embeddings: str, words: tuple[str, ...], images: tuple[str, ...], among: str, **options: Any) -> None:
    """Find in EMBEDDINGS, a folder of wit encode, what is nearest to WORDS (quote a phrase) or to an image."""
    from trainer.embedding.folder import open_folder
    from trainer.embedding.page import Query, render
    from trainer.embedding.search import search as run_search
    from wit.progress import progress
    from wit.storage import publish_text

    queries = [*(Query(each, is_image=False) for each in words), *(Query(each, is_image=True) for each in images)]
    if not queries:
        raise UserError("expected something to look for, found nothing; name words, or an image with --image")
    folder = open_folder(embeddings)
    num_rows = folder.num_rows(among)
    if not num_rows:
        raise UserError(f"{embeddings}: expected embeddings of {among}, found none; try --among")
    vectors = _embed(
        folder, queries, **{name: options[name] for name in ("checkpoint", "device", "merges", "activation")}
    )
    with progress("search", num_rows, "rows") as advance:
        found = run_search(folder, among, vectors, options["k"], advance)
    for query, hits in zip(queries, found, strict=True):
        _print_hits(query, hits)
    if options["page"]:
        publish_text(options["page"], render(embeddings, queries, found, num_rows))
    if options["json_file"]:
        publish_text(options["json_file"], _as_json(queries, found))


def _embed(folder: EmbeddingFolder, queries: Sequence[Query], checkpoint: str | None, **options: Any) -> Embeddings:
    """Return the embeddings of queries; raises MismatchError for another model than that of the folder."""
    import numpy as np

    from trainer.parallel.ranks import ALONE

    made_with = folder.opened
    if not checkpoint:
        options |= {name: options[name] or getattr(made_with, name) for name in ("merges", "activation")}
    encoder = _open(checkpoint or made_with.checkpoint, ALONE, precision=folder.facts["precision"], **options)
    expected, found = folder.facts["model"]["fingerprint"], encoder.fingerprint
    if found != expected:
        raise MismatchError(
            f"{folder.url}: expected the model that it was made with ({made_with.checkpoint}, weights "
            f"{expected[:12]}), found {encoder.opened.checkpoint} ({found[:12]}); name it with --checkpoint"
        )
    rows = [encoder.image_file(each.name) if each.is_image else encoder.texts([each.name])[0] for each in queries]
    return np.stack(rows)


def _print_hits(query: Query, hits: Sequence[Hit]) -> None:
    click.echo(_on_a_line(query.name))
    for hit in hits:
        words = hit.row.get("text", hit.row.get("caption")) or ""
        click.echo(f"{hit.rank:>5}  {hit.score:7.4f}  {_on_a_line(hit.row['key'])}  {_on_a_line(words)}".rstrip())


def _on_a_line(text: str) -> str:
    """Return hostile text as a terminal may get it: no control characters, not too long."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text[: MAX_WORDS + 1])
    return shown if len(shown) <= MAX_WORDS else f"{shown[:MAX_WORDS]}…"


def _as_json(queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> str:
    values = [
        {
            "query": query.name,
            "is_image": query.is_image,
            "hits": [{"rank": hit.rank, "score": hit.score, **hit.row} for hit in hits],
        }
        for query, hits in zip(queries, found, strict=True)
    ]
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
