"""`wit evaluate-protocol`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from typing import Any

import click

from trainer.options import ACTIVATION, DEVICE, MERGES, choose_device
from wit.errors import UserError

NAMES = (
    "retrieval", "video_middle", "video_all", "video_all_embeddings", "reading", "geolocation", "faces", "harm",
    "gendered", "surveillance", "identification", "identification_every_image",
)  # fmt: skip
"""Those of running.PROTOCOLS."""


@click.command(
    "evaluate-protocol",
    epilog="Example: wit evaluate-protocol retrieval runs/clip --table dataset_flickr30k.json --images flickr30k "
    "--task flickr30k --out results/clip",
)
@click.argument("protocol", type=click.Choice(NAMES), metavar="PROTOCOL")
@click.argument("checkpoint")
@click.option("--table", required=True, metavar="PATH", help="What belongs to what: .csv, .tsv, .jsonl; "
              "Karpathy's or COCO's .json for retrieval; of videos a folder of class folders.")  # fmt: skip
@click.option("--images", default="", metavar="FOLDER", help="Where the table's images are.  [default: beside it]")
@click.option("--extra", default="", metavar="FILE", help="geolocation: places of references; gendered: labels.")
@click.option("--task", required=True, metavar="NAME", help="Of the results; flickr30k, mscoco, fairface, celeba, "
              "iiit5k, ucf101 and cctv stand beside the paper's numbers.")  # fmt: skip
@click.option(
    "--classes", default="", metavar="SOURCE", help="Of videos, class names: a file, or an installed package."
)
@click.option("--by-order", is_flag=True, help="Take --classes in the folders' order, whatever they are called.")
@click.option(
    "--templates",
    default="",
    metavar="SOURCE",
    help="photo, sample, a file with a {label} prompt a line, or an installed package.  [default: the protocol's own]",
)
@click.option("--max-frames", default=0, metavar="N", type=click.IntRange(min=0), help="Of a video.  [default: all]")
@click.option("--skip-broken", is_flag=True, help="Leave out what cannot be read, and count it.")
@click.option("--out", default="", metavar="FOLDER", help="Folder for results/, and embeddings/, by which the same "
              "command goes on.")  # fmt: skip
@click.option("--cache", metavar="FOLDER", help="Where embeddings are kept.  [default: embeddings/ of --out]")
@MERGES
@ACTIVATION
@DEVICE
def evaluate_protocol(protocol: str, checkpoint: str, device: str, merges: str, activation: str, **asked: Any) -> None:
    """Run a PROTOCOL of the paper on a CHECKPOINT and on data of your own; under torchrun, the ranks share the images.

    Protocols: retrieval, video_middle, video_all, video_all_embeddings, reading, geolocation, faces, harm, gendered,
    surveillance, identification, identification_every_image.
    """
    from trainer.evaluation.problems import Wording
    from trainer.evaluation.protocols.embedding import ClipEmbedder
    from trainer.evaluation.protocols.running import Brought, describe, run_protocol, write_results
    from trainer.evaluation.running import write_checkpoint
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.models.clip import Clip
    from trainer.parallel.ranks import find_ranks, joined, own_device

    task, out = asked["task"], asked["out"]
    if not task.isprintable() or "/" in task or task in ("", ".", ".."):
        raise UserError(f"--task {task!r}: expected a name of which a file's can be made, found none; choose another")
    wording = Wording(asked["classes"], asked["templates"], asked["by_order"])
    given = Brought(
        task, asked["table"], asked["images"], asked["extra"], wording, asked["max_frames"], asked["skip_broken"]
    )  # fmt: skip
    name, model, vocabulary = open_model(checkpoint, merges, activation)
    if not isinstance(model, Clip):
        raise UserError(f"{checkpoint}: expected a model with embeddings of texts, found a {type(model).__name__}")
    tokenizer = open_tokenizer(name, model, vocabulary)
    ranks = find_ranks()
    chosen = own_device(choose_device(device), ranks)
    cache = asked["cache"] or (f"{out.rstrip('/')}/embeddings" if out else "")
    with joined(ranks, chosen):
        found = run_protocol(protocol, ClipEmbedder(model.to(chosen).eval(), tokenizer, cache, ranks), given)
    if not ranks.is_first:
        return
    if out:
        write_checkpoint(out, name, model)
        write_results(found, out)
    for one in found:
        click.echo(describe(one))
    for warning in sorted({str(one.details["warning"]) for one in found if "warning" in one.details}):
        click.echo(warning, err=True)
