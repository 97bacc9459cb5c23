"""A call of `wit overlap train-detector`: the loop, and the detector's file at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainer.detector.export import FACTS, ONNX, write_detector
from trainer.detector.measuring import Measured, measure, whiten_on
from trainer.detector.recipe import TEMPERATURE, DetectorRecipe
from trainer.detector.session import DetectorSession, open_session
from trainer.loader.pictures import find_pictures
from trainer.running.loop import run
from wit import manifest
from wit.errors import InputError
from wit.locking import locked
from wit.storage import exists, join


@dataclass(frozen=True)
class DetectorResult:
    """How a call of `train_detector` ended."""

    step: int
    num_steps: int
    num_replaced: int
    """Pictures that this call had to replace."""
    detector: str | None
    """The detector's file; None before the last step."""
    measured: Measured | None
    """None before the last step, or where no pictures were held out."""
    stopped_by: int | None
    """The signal that stopped it, or None."""


def train_detector(recipe: DetectorRecipe, images: Sequence[str], out: str, device: str) -> DetectorResult:
    """Train a detector on pictures of folders or shards, or go on from the newest checkpoint under `out`.

    The same recipe and pictures give the same weights, killed and resumed or not, on the same CPU with the same number
    of threads. Raises InputError for pictures that cannot be read, MismatchError when `out` holds something else,
    OutputError when another process trains there, StageError when the loss is no longer a number.
    """
    import onnx  # noqa: F401 - needed at the end: what is not installed is said now

    session = open_session(recipe, find_pictures(images), out, torch.device(device))
    ended = run(session)
    if not ended.is_done:
        return DetectorResult(ended.step, ended.num_steps, ended.num_replaced, None, None, ended.stopped_by)
    with locked(out, session.command):
        measured = _finish(session)
    detector = join(out, ONNX)
    return DetectorResult(ended.step, ended.num_steps, ended.num_replaced, detector, measured, ended.stopped_by)


def _finish(session: DetectorSession) -> Measured | None:
    """Measure the trained detector and write its files, unless they are there; return what it is worth."""
    facts = join(session.out, FACTS)
    if not exists(facts):
        whiten_on(session.model, session.pictures, session.loader.places, session.recipe)
        measured = measure(session.model, session.pictures, session.held_out, session.recipe)
        made = {
            **session.facts,
            "step": session.state.step,
            "temperature": TEMPERATURE,
        }
        write_detector(session.out, session.model, measured, made)
    found = manifest.read(facts, "held_out")["held_out"]
    try:
        return Measured(**found) if found else None
    except TypeError as error:
        raise InputError(
            f"{facts}: expected what training wrote, found something else; remove it to have it again"
        ) from error
