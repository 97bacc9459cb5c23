"""`wit evaluate-protocol`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

from typing import Any

import click

from trainer.evaluation.options import SKIP_BROKEN, evaluated, kept, wording
from trainer.options import ACTIVATION, DEVICE, MERGES
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
@wording("Of videos, class names", "the folders' order", "the protocol's own")
@click.option("--max-frames", default=0, metavar="N", type=click.IntRange(min=0), help="Of a video.  [default: all]")
@SKIP_BROKEN
@kept("embeddings")
@MERGES
@ACTIVATION
@DEVICE
def evaluate_protocol(protocol: str, checkpoint: str, **asked: Any) -> None:
    """Run a PROTOCOL of the paper on a CHECKPOINT and on data of your own; under torchrun, the ranks share the images.

    Protocols: retrieval, video_middle, video_all, video_all_embeddings, reading, geolocation, faces, harm, gendered,
    surveillance, identification, identification_every_image.
    """
    from trainer.evaluation.problems import Wording
    from trainer.evaluation.protocols.embedding import ClipEmbedder
    from trainer.evaluation.protocols.running import Brought, describe, run_protocol, write_results
    from trainer.evaluation.running import write_checkpoint
    from trainer.models.clip import Clip
    from wit.storage import join

    task, out = asked["task"], asked["out"]
    if not task.isprintable() or "/" in task or task in ("", ".", ".."):
        raise UserError(f"--task {task!r}: expected a name of which a file's can be made, found none; choose another")
    words = Wording(asked["classes"], asked["templates"], asked["by_order"])
    given = Brought(
        task, asked["table"], asked["images"], asked["extra"], words, asked["max_frames"], asked["skip_broken"]
    )  # fmt: skip
    with evaluated(checkpoint, asked) as one:
        if not isinstance(one.model, Clip):
            found = type(one.model).__name__
            raise UserError(f"{checkpoint}: expected a model with embeddings of texts, found a {found}")
        cache = asked["cache"] or (join(out, "embeddings") if out else "")
        findings = run_protocol(protocol, ClipEmbedder(one.model, one.tokenizer, cache, one.ranks), given)
    if not one.ranks.is_first:
        return
    if out:
        write_checkpoint(out, one.name, one.model)
        write_results(findings, out)
    for warning in sorted({str(each.details["warning"]) for each in findings if "warning" in each.details}):
        click.echo(warning, err=True)
    for each in findings:
        click.echo(describe(each))
