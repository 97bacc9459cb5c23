"""What the commands that evaluate a checkpoint share: options, and how it is opened; torch is imported when it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from trainer.options import choose_device

if TYPE_CHECKING:
    from trainer.models.build import AnyModel
    from trainer.parallel.ranks import Ranks
    from trainer.tokenizer import ClipTokenizer

Command = TypeVar("Command", bound=Callable[..., Any])

PATIENCE = timedelta(days=1)
"""What ranks wait for the first, which alone fits probes: on ImageNet's training images that takes hours."""

SKIP_BROKEN = click.option("--skip-broken", is_flag=True, help="Leave out what cannot be read, and count it.")


def wording(classes: str, order: str, templates: str) -> Callable[[Command], Command]:
    """Return --classes, --by-order and --templates: whose names, in which order, and which templates by default."""
    options = (
        click.option("--classes", default="", metavar="SOURCE", help=f"{classes}: a file, or an installed package."),
        click.option("--by-order", is_flag=True, help=f"Take --classes in {order}, whatever its classes are called."),
        click.option(
            "--templates",
            default="",
            metavar="SOURCE",
            help="photo, sample, a file with a {label} prompt a line, or an installed package.  "
            f"[default: {templates}]",
        ),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


WITH_CLASSES = "those that come with --classes, else photo"
"""Which templates a command takes by default, in words."""


def kept(what: str, also: str = "", required: bool = False) -> Callable[[Command], Command]:
    """Return --out and --cache: `what` is kept there, by which the same command goes on, with what is in `also`."""

    def add(command: Command) -> Command:
        out = click.option(
            "--out",
            required=required,
            metavar="FOLDER",
            help=f"Folder for results/, {also}and {what}/, by which the same command goes on.",
        )
        cache = click.option("--cache", metavar="FOLDER", help=f"Where {what} are kept.  [default: {what}/ of --out]")
        return out(cache(command))

    return add


class Evaluated(NamedTuple):
    """A checkpoint that is evaluated: its model, in evaluation mode on its device, and who does it."""

    name: str
    model: AnyModel
    tokenizer: ClipTokenizer
    ranks: Ranks


@contextmanager
def evaluated(checkpoint: str, options: Mapping[str, Any]) -> Iterator[Evaluated]:
    """Open a checkpoint as a command's options say, on all ranks; --out is made before, so that it can be written to.

    Raises InputError for a checkpoint that is none, OutputError for a folder that cannot be made.
    """
    from trainer.interchange.opening import open_model, open_tokenizer
    from trainer.parallel.ranks import find_ranks, joined, own_device
    from wit.storage import make_folder

    if options["out"]:
        make_folder(options["out"])
    name, model, vocabulary = open_model(checkpoint, options["merges"], options["activation"])
    tokenizer = open_tokenizer(name, model, vocabulary)
    ranks = find_ranks()
    device = own_device(choose_device(options["device"]), ranks)
    with joined(ranks, device, PATIENCE):
        yield Evaluated(name, model.to(device).eval(), tokenizer, ranks)
