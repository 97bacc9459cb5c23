"""Options that several commands have, and what their words mean; torch is imported when one is used."""

from __future__ import annotations

import click

from wit.errors import UserError

DEVICE = click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto: a GPU if there is one.")
MERGES = click.option(
    "--merges",
    default="",
    metavar="FILE",
    help="Vocabulary of a checkpoint that has none.  [default: CLIP's, of an installed package]",
)
ACTIVATION = click.option(
    "--activation",
    type=click.Choice(["", "quick_gelu", "gelu"]),
    default="",
    metavar="quick_gelu|gelu",
    help="Of a checkpoint that does not say it.  [default: quick_gelu]",
)


def choose_device(name: str) -> str:
    """Return the torch device that a user names; raises UserError when it is not there."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device: expected cpu, cuda or auto, found {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: expected a GPU that PyTorch can use, found none; use --device cpu")
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def recipe_path(name: str, package: str = "trainer") -> str:
    """Return the recipe file that a path or the name of a recipe in a package means; raises UserError."""
    from importlib import resources

    from wit.storage import exists

    folder = resources.files(package) / "recipes"
    bundled = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name in bundled:
        return str(folder / f"{name}.toml")
    if not exists(name):
        raise UserError(f"{name!r}: expected a recipe file or one of {', '.join(bundled)}, found neither")
    return name
