from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.protocols.retrieval import Pairs, measure_retrieval, read_pairs
from wit.errors import InputError

KARPATHY = {
    "images": [
        {"filename": "a.jpg", "filepath": "val", "split": "test", "sentences": [{"raw": " x "}, {"raw": "y"}]},
        {"filename": "b.jpg", "split": "train", "sentences": [{"raw": "no"}]},
        {"filename": "c.jpg", "split": "test", "sentences": [{"raw": str(n)} for n in range(7)]},
    ]
}
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "c.jpg"}],
    "annotations": [{"image_id": 3, "caption": "z"}, {"image_id": 7, "caption": "x"}, {"image_id": 7, "caption": "y "}],
}


def test_files_of_pairs(tmp_path: Path) -> None:
    """Karpathy's JSON, COCO's and rows give images, their split's only, and the first five captions of each."""
    for name, whole in (("karpathy.json", KARPATHY), ("coco.json", COCO)):
        (tmp_path / name).write_text(json.dumps(whole))
    (tmp_path / "rows.tsv").write_text("image\tcaption\na\tx\nb\tz\na\ty\n")
    karpathy = read_pairs(str(tmp_path / "karpathy.json"))
    assert karpathy == Pairs(("val/a.jpg", "c.jpg"), ("x", "y", "0", "1", "2", "3", "4"), (0, 0, 1, 1, 1, 1, 1))
    assert len(read_pairs(str(tmp_path / "karpathy.json"), "").images) == 3
    assert read_pairs(str(tmp_path / "coco.json")) == Pairs(("a.jpg", "c.jpg"), ("x", "y", "z"), (0, 0, 1))
    assert read_pairs(str(tmp_path / "rows.tsv")) == Pairs(("a", "b"), ("x", "y", "z"), (0, 0, 1))


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ({"images": []}, "expected images of the split 'test', found none"),
        ({"images": [{"id": 1, "file_name": "a"}], "annotations": []}, "expected a caption of 'a', found none"),
        ({"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "caption": "x"}]}, "KeyError: 2"),
        ({"pictures": 1}, "expected images with sentences"),
        ({"images": [{"filename": 5, "sentences": [{"raw": "x"}]}]}, "TypeError: '5' for a text"),
        ({"images": [{"filename": ["a"], "sentences": [{"raw": "x"}]}]}, "for a text"),
        ({"images": [{"filename": "a", "sentences": [{"raw": " "}]}]}, "TypeError: ' ' for a text"),
        ({"images": [{"id": 1, "file_name": None}], "annotations": []}, "TypeError: 'None' for a text"),
        ({"images": [{"id": 1, "file_name": one} for one in "ab"], "annotations": []}, "two images of the id 1"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, whole: object, message: str) -> None:
    """A file without the split, a caption without its image and the other way round, and other JSON are errors."""
    (tmp_path / "a.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match=message):
        read_pairs(str(tmp_path / "a.json"))


def test_recalls_are_those_of_sorting() -> None:
    """On random embeddings recall at 1, 5 and 10 both ways is that of sorting all scores; chance is below it."""
    rng = np.random.default_rng(3)
    image = rng.standard_normal((40, 8)).astype(np.float32)
    owner = [number % 40 for number in range(130)]
    text = image[owner] + 1.5 * rng.standard_normal((130, 8)).astype(np.float32)
    pairs = Pairs(tuple(map(str, range(40))), tuple(map(str, range(130))), tuple(owner))
    of_text, of_image = measure_retrieval(image, text, pairs, "flickr30k")
    scores = image @ text.T
    for k, (texts, images) in enumerate(zip(of_text.details["recalls"], of_image.details["recalls"], strict=True)):
        most = (1, 5, 10)[k]
        right = [any(owner[t] == i for t in np.argsort(-scores[i])[:most]) for i in range(40)]
        assert texts["value"] == pytest.approx(np.mean(right))
        right = [owner[t] in np.argsort(-scores[:, t])[:most] for t in range(130)]
        assert images["value"] == pytest.approx(np.mean(right))
    assert (of_text.chance, of_image.chance) == (pytest.approx(np.mean(np.bincount(owner)) / 130), 1 / 40)
    with pytest.raises(InputError, match="captions: expected 130 embeddings"):
        measure_retrieval(image, text[1:], pairs, "x")
