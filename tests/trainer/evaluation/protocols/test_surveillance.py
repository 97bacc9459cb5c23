from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.protocols.surveillance import (
    Question,
    answer_questions,
    list_descriptions,
    measure_surveillance,
    read_questions,
)
from wit.errors import InputError

SCENES = ("an empty street", "a crowd", "a parking lot", "a garage", "a bridge", "a station")


def make_questions(count: int) -> list[Question]:
    rng = np.random.default_rng(0)
    coarse = [
        Question(f"{n}.jpg", "coarse", SCENES, int(rng.integers(6)), "a full parking lot" if n % 2 else "", f"v{n % 3}")
        for n in range(count)
    ]
    return coarse + [Question(f"f{n}.jpg", "fine", ("a bag", "no bag"), n % 2, "", "") for n in range(5)]


def test_accuracies_are_naive_counts() -> None:
    """Coarse, with a distractor, fine: each is the count of a loop over one question's own options."""
    questions = make_questions(41)
    texts = list_descriptions(questions)
    rng = np.random.default_rng(1)
    text_CD = rng.standard_normal((len(texts), 4)).astype(np.float32)
    image_ND = rng.standard_normal((len(questions), 4)).astype(np.float32)
    score = {(n, text): float(image_ND[n] @ text_CD[c]) for n in range(len(questions)) for c, text in enumerate(texts)}

    def best(n: int, options: tuple[str, ...]) -> str:
        return max(options, key=lambda text: score[n, text])

    coarse, close, fine = measure_surveillance(image_ND, text_CD, questions, "cctv")
    rights = [best(n, one.options) == one.options[one.answer] for n, one in enumerate(questions)]
    assert (coarse.share.num_hits, fine.share.num_hits) == (sum(rights[:41]), sum(rights[41:]))
    with_close = [(n, one) for n, one in enumerate(questions) if one.close]
    picks = [(best(n, (*one.options, one.close)), one) for n, one in with_close]
    assert close.share.num_hits == sum(pick == one.options[one.answer] for pick, one in picks)
    assert close.details["distractor_chosen"]["num_hits"] == sum(pick == one.close for pick, one in picks)
    assert [one.chance for one in (coarse, close, fine)] == pytest.approx([1 / 6, 1 / 7, 1 / 2])
    assert sum(row["num_items"] for row in coarse.details["by_video"]) == 41


def test_a_planted_distractor_is_chosen() -> None:
    """Frames that look like the distractor are answered rightly without it, and by it when it is there."""
    (question,) = [one for one in make_questions(2) if one.close]
    texts = list_descriptions([question])
    text_CD = np.eye(len(texts), dtype=np.float32)
    image = text_CD[[texts.index(question.options[question.answer])]] + 2 * text_CD[[texts.index(question.close)]]
    assert answer_questions(image, text_CD, [question], with_close=False).tolist() == [question.answer]
    assert answer_questions(image, text_CD, [question], with_close=True).tolist() == [len(SCENES)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": "a zoo"}, "expected the answer among the options, found 'a zoo'"),
        ({"options": list(SCENES[:5])}, "expected at least 6 different options, found 5 of 5"),
        ({"options": [*SCENES[:5], SCENES[0]]}, "expected at least 6 different options, found 5 of 6"),
        ({"close": "a crowd"}, "expected a close distractor of a coarse question that is no option"),
        ({"kind": "fine"}, "expected two different options, found 6 of 6"),
        ({"kind": "odd"}, "expected the kind coarse or fine, found 'odd'"),
    ],
)
def test_bad_questions_are_one_line(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    """A question that cannot be asked names its line and what is wrong."""
    good = {"image": "a.jpg", "options": list(SCENES), "answer": "a crowd", "close": "a small crowd", "video": 1}
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(good))
    assert read_questions(str(path)) == (Question("a.jpg", "coarse", SCENES, 1, "a small crowd", "1"),)
    path.write_text(json.dumps(good | changed))
    with pytest.raises(InputError, match=f"line 1: {message}"):
        read_questions(str(path))
