"""Frames of surveillance cameras, described coarsely and finely (paper, section 7.2).

Coarse: of at least six descriptions of a scene the right one, "an empty parking lot". With a distractor: one more,
which differs from the right one in a little, "a parking lot with a red car" for one with a white car. Fine: whether a
small thing is there, as a choice of two. The user writes the descriptions; the paper's own are not published.

Shapes: N frames, C descriptions, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.protocols.findings import (
    Bools,
    Finding,
    Floats,
    Ints,
    require_rows,
    share_of,
    shares_by,
    similarities,
)
from trainer.evaluation.protocols.warning import SURVEILLANCE
from trainer.evaluation.tables import Row, read_rows
from wit.errors import InputError

MIN_OPTIONS = 6
"""Of a coarse question (section 7.2); a fine one has two."""
COARSE, FINE = "coarse", "fine"
PUBLISHED_DISTRACTOR = 40.7
"""Percent of the questions with one to which zero-shot CLIP answered the close distractor (section 7.2)."""


@dataclass(frozen=True)
class Question:
    """A frame, and what it is to be described with."""

    image: str
    kind: str
    """COARSE or FINE."""
    options: tuple[str, ...]
    answer: int
    """Place of the right one."""
    close: str
    """A distractor that is nearly right; blank: none."""
    video: str


def read_questions(url: str) -> tuple[Question, ...]:
    """Return the rows of image, options (with | between, or a JSON list), answer; kind, close and video may be there.

    Raises InputError when an answer is not among the options, one is there twice, there are fewer than MIN_OPTIONS (of
    a fine question, other than two), or the distractor is one of them.
    """
    return tuple(map(_question, read_rows(url, ("image", "options", "answer"))))


def _question(row: Row) -> Question:
    options, answer, close = row.texts("options"), row.text("answer"), row.optional("close")
    kind = row.optional("kind") or COARSE
    if kind not in (COARSE, FINE):
        raise InputError(f"{row.where}: expected the kind {COARSE} or {FINE}, found {kind[:60]!r}")
    enough = len(options) == 2 if kind == FINE else len(options) >= MIN_OPTIONS
    if not enough or len(set(options)) < len(options):
        wanted = "two different options" if kind == FINE else f"at least {MIN_OPTIONS} different options"
        raise InputError(f"{row.where}: expected {wanted}, found {len(set(options))} of {len(options)}; add some")
    if answer not in options:
        raise InputError(f"{row.where}: expected the answer among the options, found {answer[:60]!r}, which is not")
    if close in options or (close and kind == FINE):
        raise InputError(f"{row.where}: expected a close distractor of a coarse question that is no option of it, "
                         f"found {close[:60]!r}; take it from the options")  # fmt: skip
    return Question(row.text("image"), kind, options, options.index(answer), close, row.optional("video"))


def list_descriptions(questions: Sequence[Question]) -> tuple[str, ...]:
    """Return all descriptions in order, each once: those to embed."""
    return tuple(sorted({text for one in questions for text in (*one.options, one.close) if text}))


def answer_questions(image_ND: Floats, text_CD: Floats, questions: Sequence[Question], with_close: bool) -> Ints:
    """Return the place (N,) of the nearest option; of equal ones the first.

    With the distractor, where there is one, it stands after the options. `text_CD` are `list_descriptions`'.
    """
    place = {text: number for number, text in enumerate(list_descriptions(questions))}
    chosen = np.zeros(len(questions), np.int64)
    for number, one in enumerate(questions):
        texts = [*one.options, one.close] if with_close and one.close else one.options
        scores = similarities(image_ND[number : number + 1], text_CD[[place[text] for text in texts]])[0]
        chosen[number] = scores.argmax()
    return chosen


def measure_surveillance(
    image_ND: Floats, text_CD: Floats, questions: Sequence[Question], task: str
) -> tuple[Finding, ...]:
    """Return the accuracy of coarse questions, of those with a close distractor, and of fine ones, where there are any.

    Raises InputError when embeddings differ in number from the questions and `list_descriptions`.
    """
    require_rows("frames", len(image_ND), len(questions))
    require_rows("descriptions", len(text_CD), len(list_descriptions(questions)))
    answers_N = np.array([one.answer for one in questions])
    is_coarse_N = np.array([one.kind == COARSE for one in questions])
    has_close_N = np.array([bool(one.close) for one in questions])
    plain_N = answer_questions(image_ND, text_CD, questions, with_close=False)
    close_N = answer_questions(image_ND, text_CD, questions, with_close=True)
    took_close_N = has_close_N & (close_N == np.array([len(one.options) for one in questions]))
    kinds = (
        ("coarse", plain_N == answers_N, is_coarse_N),
        ("with a close distractor", close_N == answers_N, has_close_N),
        ("fine", plain_N == answers_N, ~is_coarse_N),
    )
    return tuple(
        _finding(
            task,
            name,
            right_N[kept_N],
            took_close_N[kept_N],
            [questions[row] for row in np.flatnonzero(kept_N).tolist()],
        )
        for name, right_N, kept_N in kinds
        if kept_N.any()
    )


def _finding(task: str, kind: str, right_N: Bools, took_close_N: Bools, questions: Sequence[Question]) -> Finding:
    with_close = kind == "with a close distractor"
    num_options = [len(one.options) + with_close for one in questions]
    details: dict[str, object] = {
        "warning": SURVEILLANCE,
        "note": "frames of one video are not independent: the interval is too narrow",
    }
    if with_close:
        paper = {"paper_percent": PUBLISHED_DISTRACTOR} if task == "cctv" else {}
        details["distractor_chosen"] = share_of(took_close_N).to_json() | paper
    if any(one.video for one in questions):
        details["by_video"] = [share.to_json() for share in shares_by(right_N, [one.video for one in questions])]
    return Finding(
        task,
        f"surveillance_{kind.replace(' ', '_')}",
        "accuracy",
        share_of(right_N),
        num_classes=max(num_options),
        chance=float(np.mean([1 / number for number in num_options])),
        details=details,
    )
