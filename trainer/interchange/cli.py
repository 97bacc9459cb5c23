"""`wit export`. Torch and the rest are imported when the command runs, not for --help."""

from __future__ import annotations

import click

from trainer.options import ACTIVATION
from wit.errors import MismatchError


@click.command(epilog="Example: wit export runs/tiny-clip --out tiny-clip.safetensors")
@click.argument("checkpoint")
@click.option(
    "--out", required=True, help="NAME.safetensors: one file with the released names; else a new folder for open_clip."
)
@ACTIVATION
def export(checkpoint: str, out: str, activation: str) -> None:
    """Write a CHECKPOINT's weights so that open_clip and others load them (its moving average, if it has one).

    A folder describes itself: open_clip loads it by `local-dir:FOLDER`.
    """
    from trainer.interchange.opening import open_model
    from trainer.interchange.writing import OPEN_CLIP_MODEL, write_open_clip, write_openai
    from trainer.saving.checkpoint import TOKENIZER
    from wit.storage import exists, join, list_names, publish_bytes, read_bytes

    if exists(out) and (out.endswith(".safetensors") or list_names(out)):
        raise MismatchError(f"--out {out}: expected a new file or folder, found one; choose another")
    name, model, merges = open_model(checkpoint, activation=activation)
    if out.endswith(".safetensors"):
        write_openai(out, model)
        click.echo(f"{out}: weights of {name}")
        return
    write_open_clip(out, model)
    own_vocabulary = exists(merges)
    if own_vocabulary:
        publish_bytes(join(out, TOKENIZER), read_bytes(merges))
    click.echo(
        f"{join(out, OPEN_CLIP_MODEL)}: weights of {name}" + (f"; {TOKENIZER}: its own" if own_vocabulary else "")
    )
