"""From the name of a checkpoint, ours or another's, to its model and its tokenizer."""

from __future__ import annotations

import sys

from trainer.interchange.reading import read_model
from trainer.models.build import AnyModel
from trainer.tokenizer import INSTALLED, ClipTokenizer, read_merges
from wit.errors import InputError
from wit.shards import folder_of


def open_model(checkpoint: str, merges: str = "", activation: str = "") -> tuple[str, AnyModel, str]:
    """Return what a checkpoint is called, its model, on the CPU, and the file of its vocabulary.

    A checkpoint is one of ours (its folder, or a run: its newest) or a file that `read_weights` reads; `activation` as
    there. Without `merges` the vocabulary is the checkpoint's own or else an installed package's. Raises InputError.
    """
    model, weights = read_model(checkpoint, activation)
    name = folder_of(weights.tokenizer) if weights.tokenizer else checkpoint
    if weights.activation_from == "default":
        print(
            f"{checkpoint}: nothing says which activation it was trained with; {weights.config.activation} is taken, "
            "as in OpenAI's models; --activation says another",
            file=sys.stderr,
        )
    return name, model, merges or weights.tokenizer or INSTALLED


def open_tokenizer(checkpoint: str, model: AnyModel, merges: str) -> ClipTokenizer:
    """Return the tokenizer of a vocabulary; raises InputError when it is not one for the model."""
    try:
        tokenizer = ClipTokenizer(read_merges(merges))
    except InputError as error:
        if merges != INSTALLED:
            raise
        raise InputError(f"{checkpoint}: expected a vocabulary, named with --merges or installed; {error}") from error
    expected, found = model.config.text.vocabulary_size, tokenizer.vocabulary_size
    if found != expected:
        raise InputError(f"{merges}: expected a vocabulary of {expected} ids, found {found}; {checkpoint} has another")
    return tokenizer
