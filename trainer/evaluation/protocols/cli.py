"""`wit evaluate-protocol`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

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
    "--templates", default="", metavar="SOURCE", help="photo, sample, or a file with a {label} prompt a line."
)
@click.option("--max-frames", default=0, metavar="N", type=click.IntRange(min=0), help="Of a video.  [default: all]")
@click.option("--out", default="", metavar="FOLDER", help="Folder for results/.")
@MERGES
@ACTIVATION
@DEVICE
def evaluate_protocol(
    protocol: str, checkpoint: str, templates: str, out: str, device: str, merges: str, activation: str,
    **brought: str | int,
) -> None:  # fmt: skip
    """Run a PROTOCOL of the paper on a CHECKPOINT and on data of your own.

    Protocols: retrieval, video_middle, video_all, video_all_embeddings, reading, geolocation, faces, harm, gendered,
    surveillance, identification, identification_every_image.
    """
    import torch

    from trainer.evaluation.protocols.embedding import ClipEmbedder
    from trainer.evaluation.protocols.running import Brought, run_protocol, write_findings
    from trainer.evaluation.templates import read_templates
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.models.clip import Clip

    task = str(brought["task"])
    if not task.isprintable() or "/" in task or task in ("", ".", ".."):
        raise UserError(f"--task {task!r}: expected a name of which a file's can be made, found none; choose another")
    given = Brought(
        task, str(brought["table"]), str(brought["images"]), str(brought["extra"]),
        read_templates(templates) if templates else (), int(brought["max_frames"]),
    )  # fmt: skip
    name, model, vocabulary = open_model(checkpoint, merges, activation)
    if not isinstance(model, Clip):
        raise UserError(f"{checkpoint}: expected a model with embeddings of texts, found a {type(model).__name__}")
    tokenizer = open_tokenizer(name, model, vocabulary)
    embedder = ClipEmbedder(model.to(torch.device(choose_device(device))).eval(), tokenizer)
    findings = run_protocol(protocol, embedder, given)
    for one in findings:
        low, high = one.share.interval
        chance = "" if one.chance is None else f"; chance {one.chance:.1%}"
        click.echo(f"{one.task} {one.protocol}: {one.metric} {one.share.value:.1%} ({one.share.num_hits}/"
                   f"{one.share.num_items}; 95 % interval {low:.1%} to {high:.1%}){chance}")  # fmt: skip
    for warning in sorted({str(one.details["warning"]) for one in findings if "warning" in one.details}):
        click.echo(warning, err=True)
    if out:
        write_findings(findings, out)
