"""`wit sample`: write the miniature web, serve it, check a run against its truth."""

from __future__ import annotations

import os

import click

SOURCES = ("warc", "wat", "table", "warc_bodies")
_FEW = 10


class _DefaultGroup(click.Group):
    """A group whose first argument may be a folder: then `write` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["write", *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["DIR [--pairs N] [--seed S]", "| COMMAND [ARGS]..."]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [record for option in write.params if (record := option.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl([*records, ("-h, --help", "Show this message and exit.")])
        self.format_commands(ctx, formatter)


@click.group(cls=_DefaultGroup, epilog="Example: wit sample data/sample --pairs 4000 --seed 0")
def sample() -> None:
    """Write the miniature web to DIR: real formats, known answers.

    An encyclopedia with page views and a WordNet, a web with its WARC and WAT files and a URL table, evaluation sets,
    and in truth.parquet what must become of every candidate. (A DIR that is named like a command: ./serve.)
    """


@sample.command(hidden=True, epilog="Example: wit sample data/sample --pairs 1000")
@click.argument("folder", metavar="DIR")
@click.option(
    "--pairs", type=click.IntRange(1, 10_000_000), default=4000, show_default=True, help="Image-text pairs of the web."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed makes another web.")
@click.option("--processes", type=click.IntRange(1, 1024), help="Processes that draw.  [default: one a core]")
def write(folder: str, pairs: int, seed: int, processes: int | None) -> None:
    """Write the miniature web to DIR."""
    from wit.sample.build import default_settings, write_sample

    written = write_sample(folder, pairs, seed, processes or os.cpu_count() or 1)
    what = f"{pairs:,} pairs of seed {seed}, cap {default_settings(pairs, seed).cap}"
    click.echo(f"{folder}: {'wrote' if written else 'already holds'} the miniature web, {what}")


@sample.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Example: wit sample serve data/sample -- wit run tiny --out runs/tiny --set fetch.connect_to={address}",
)
@click.argument("folder", metavar="DIR")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port on 127.0.0.1.  [default: any free one]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.pass_context
def serve(ctx: click.Context, folder: str, port: int, command: tuple[str, ...]) -> None:
    """Serve the web of DIR on 127.0.0.1: until Ctrl-C, or while COMMAND runs.

    In COMMAND's arguments {address} becomes 127.0.0.1:PORT and {cap} the cap that the truth assumes; COMMAND's exit
    status is passed on.
    """
    from wit.sample import server
    from wit.sample.check import read_settings

    if command:
        with server.serving(folder, port) as address:
            cap = str(read_settings(folder)["cap"])
            ctx.exit(_run([word.replace("{address}", address).replace("{cap}", cap) for word in command]))
    server.serve(folder, port, lambda address: click.echo(f"serving {folder} on {address}; Ctrl-C ends it"))


def _run(command: list[str]) -> int:
    import subprocess

    from wit.errors import UserError
    from wit.processes import kill_with_parent

    try:  # without its server the command would take every answer for a refusal: it must not outlive this process
        status = subprocess.run(command, check=False, preexec_fn=kill_with_parent()).returncode
    except OSError as error:
        raise UserError(
            f"expected a command that can be run after --, found {command[0]!r}: {error.strerror}"
        ) from error
    return status if status >= 0 else 128 - status  # as a shell says that a signal ended it


@sample.command(epilog="Example: wit sample check data/sample runs/tiny --source warc")
@click.argument("folder", metavar="DIR")
@click.argument("run", metavar="RUN")
@click.option(
    "--source",
    type=click.Choice(SOURCES),
    default="warc",
    show_default=True,
    help="What the run read; warc_bodies: images out of the WARC files, too.",
)
@click.pass_context
def check(ctx: click.Context, folder: str, run: str, source: str) -> None:
    """Compare what became of each candidate in RUN with the truth of DIR; exit 1 when anything differs."""
    from wit.sample.check import compare, table_lines

    comparison = compare(folder, run, source)
    for line in table_lines(comparison):
        click.echo(line)
    for line in comparison.differences[:_FEW]:
        click.echo(line)
    total, wrong = sum(comparison.expected.values()), len(comparison.differences)
    if wrong:
        click.echo(f"{run}: {wrong:,} differences from the truth about {total:,} candidates")
        ctx.exit(1)
    click.echo(f"{run}: all {total:,} candidates became what they must")
