"""The root command: a lazy group that names the other packages' commands as strings.

Nothing but click and the standard library is imported until a command is asked for, so `wit --help` takes well under
half a second.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from wit import __version__
from wit.errors import UserError, WitError

COMMANDS: dict[str, tuple[str, str]] = {
    "sample": ("wit.sample.cli:sample", "Write the miniature web: real formats, known answers."),
    "queries": ("queries.cli:queries", "Build and read the list of queries."),
    "run": ("pipelines.cli:run", "Run a recipe: from archives to shards."),
    "plan": ("pipelines.cli:plan", "Say what a run will cost."),
    "status": ("pipelines.cli:status", "Show what became of every candidate, as a funnel."),
    "report": ("pipelines.cli:report", "Write a page on a run, with examples and plots."),
    "sql": ("pipelines.cli:sql", "Ask a run's tables a question in SQL."),
    "shards": ("pipelines.shardset.cli:shards", "Check, index, change and convert shards."),
    "overlap": ("pipelines.audit.cli:overlap", "Find a test set's images in the training shards."),
    "overlap train-detector": ("trainer.detector.cli:train_detector", "Train a detector of copies, as the paper's."),
    "train": ("trainer.cli:train", "Train CLIP on shards."),
    "evaluate": ("trainer.evaluation.cli:evaluate", "Evaluate a checkpoint: zero-shot, linear probe, few-shot."),
    "evaluate-protocol": (
        "trainer.evaluation.protocols.cli:evaluate_protocol",
        "Retrieval, video, places, words, faces and more, on data of your own.",
    ),
    "evaluate-set": (
        "trainer.evaluation.suite.cli:evaluate_set",
        "List the paper's evaluation sets, and build two of them.",
    ),
    "evaluate-robustness": (
        "trainer.evaluation.shifts.cli:evaluate_robustness",
        "Robustness to natural distribution shift, beside ImageNet.",
    ),
    "evaluate-people": (
        "trainer.evaluation.report.cli:evaluate_people",
        "People's answers beside a model's, class by class.",
    ),
    "evaluate-report": ("trainer.evaluation.report.cli:evaluate_report", "Pages of evaluations, beside the paper's."),
    "export": ("trainer.interchange.cli:export", "Write a checkpoint's weights for open_clip and others."),
    "encode": ("trainer.embedding.cli:encode", "Embed images and captions with a checkpoint."),
    "search": ("trainer.embedding.cli:search", "Find embedded images by words or by an image."),
}
"""Name: (module:attribute, one line for `wit --help`)."""

EXTRAS = {
    "torch": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "pyspark": "spark",
    "img2dataset": "img2dataset",
    "av": "video",
    "faiss": "detect",
    "onnx": "detect",
    "onnxruntime": "detect",
}
"""Which extra brings a package that the core does without."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(f"expected a command ({', '.join(COMMANDS)}), found {args[0]!r}; see wit --help")
        if (both := " ".join(args[:2])) in COMMANDS and len(args) > 1:
            return both, self.get_command(ctx, both), args[2:]
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: wit sample sample --pairs 1000",
)
@click.version_option(__version__, prog_name="wit")
def wit() -> None:
    """The open reproduction of WebImageText: from a query list to shards and a trained CLIP."""


def _one_line(text: str) -> str:
    """Return a message as a terminal may get it: names in it are others', and may hold control characters."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(text.split()))


def _explain_missing(error: ImportError) -> str | None:
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    return f"this command needs {package}; install it with: pip install 'wit[{extra}]'" if extra else None


def _require_text(words: list[str]) -> None:
    """Raise UserError for a word whose bytes are not UTF-8: no table or page could hold it."""
    for word in words:
        if word != word.encode(errors="ignore").decode():
            raise UserError(f"{word!r}: expected words in UTF-8, found other bytes; rename the file that it names")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; exit 0 when all was done, 2 for a user's mistake, 1 for a failure, 130 for Ctrl-C."""
    try:
        _require_text(sys.argv[1:] if arguments is None else arguments)
        status = wit.main(args=arguments, prog_name="wit", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted; what is finished stays, and the same command does the rest", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(f"{_one_line(error.format_message())}", 2)
    except UserError as error:
        _fail(_one_line(str(error)), error.exit_code)
    except WitError as error:  # a defect: its traceback keeps its lines
        _fail(str(error), error.exit_code)
    except ImportError as error:
        explained = _explain_missing(error)
        if explained is None:
            raise
        _fail(explained, 2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        from wit.storage import output_error

        _fail(_one_line(str(output_error(error.filename or "standard output", error))), 2)


def _fail(message: str, code: int) -> None:
    print(f"wit: error: {message}", file=sys.stderr)
    sys.exit(code)
