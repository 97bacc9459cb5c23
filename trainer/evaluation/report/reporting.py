"""Writes the pages of evaluations into a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trainer.evaluation.report.comparison import comparison_page
from trainer.evaluation.report.page import checkpoint_page
from trainer.evaluation.report.results import Checkpoint, read_checkpoint
from trainer.evaluation.report.text import (
    checkpoint_facts,
    checkpoint_markdown,
    comparison_facts,
    comparison_markdown,
)
from wit import manifest
from wit.errors import UserError
from wit.storage import join, make_folder, publish_text


def report(folders: Sequence[str], out: str | None = None) -> list[str]:
    """Write the pages of what `wit evaluate` left in folders, and return what was written, the first to be opened.

    One folder: report.html, report.md and report.json, in `out` or in the folder itself. Several: comparison.html and
    its like, and checkpoint-1.html and its like of each, in `out`. The same results give the same bytes. Raises
    InputError for a folder without results, UserError when there is nowhere to write or two checkpoints have one name.
    """
    if not folders:
        raise UserError("expected a folder of evaluations, found none; name what wit evaluate --out wrote")
    checkpoints = [read_checkpoint(folder) for folder in folders]
    if len(checkpoints) == 1:
        out = out or checkpoints[0].folder
        make_folder(out)
        return _write_checkpoint(checkpoints[0], out, "report")
    if not out:
        raise UserError(f"expected a folder for the comparison of {len(folders)} checkpoints, found none; add --out")
    _require_distinct(checkpoints)
    make_folder(out)
    names = [f"checkpoint-{place}" for place in range(1, len(checkpoints) + 1)]
    page = comparison_page(checkpoints, [f"{name}.html" for name in names])
    publish_text(join(out, "comparison.html"), page)
    publish_text(join(out, "comparison.md"), comparison_markdown(checkpoints))
    manifest.write(join(out, "comparison.json"), comparison_facts(checkpoints))
    written = [join(out, f"comparison.{suffix}") for suffix in ("html", "md", "json")]
    for checkpoint, name in zip(checkpoints, names, strict=True):
        written += _write_checkpoint(checkpoint, out, name)
    return written


def _require_distinct(checkpoints: Sequence[Checkpoint]) -> None:
    for name, count in Counter(each.name for each in checkpoints).items():
        if count > 1:
            folders = ", ".join(each.folder for each in checkpoints if each.name == name)
            raise UserError(f"two checkpoints are named {name!r} ({folders}); change name in a checkpoint.json")


def _write_checkpoint(checkpoint: Checkpoint, out: str, name: str) -> list[str]:
    publish_text(join(out, f"{name}.html"), checkpoint_page(checkpoint))
    publish_text(join(out, f"{name}.md"), checkpoint_markdown(checkpoint))
    manifest.write(join(out, f"{name}.json"), checkpoint_facts(checkpoint))
    return [join(out, f"{name}.{suffix}") for suffix in ("html", "md", "json")]
