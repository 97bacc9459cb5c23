"""Folders as `wit evaluate` leaves them, with planted results, predictions and pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from wit.schema import PREDICTIONS
from wit.storage import write_parquet

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' <img src=x onerror=y> </bdi></td></table> | $x_1$"
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (120, 120, 120)}


def result(task: str = "CIFAR10", protocol: str = "zero_shot", value: float = 0.5, **more: Any) -> dict[str, Any]:
    """Return what a result file holds."""
    facts: dict[str, Any] = {
        "task": task,
        "protocol": protocol,
        "metric": "accuracy",
        "value": value,
        "interval": [max(0.0, value - 0.05), min(1.0, value + 0.05)],
        "num_items": 10_000,
        "num_classes": 10,
        "chance": 0.1,
        "published": {},
        "by_class": [],
        "details": {},
    }
    return facts | more


def write(folder: Path, results: Sequence[Mapping[str, Any]], facts: Mapping[str, Any] | None = None) -> Path:
    """Write results, a number as the name of each file, and facts of the checkpoint."""
    (folder / "results").mkdir(parents=True)
    for number, each in enumerate(results):
        (folder / "results" / f"{number}.json").write_text(json.dumps(each))
    if facts is not None:
        (folder / "checkpoint.json").write_text(json.dumps(facts))
    return folder


def write_predictions(folder: Path, task: str, rows: Sequence[tuple[str, str, str, float]]) -> None:
    """Write predictions: path, label, prediction, probability."""
    table = [
        {
            "path": path,
            "label": label,
            "prediction": guess,
            "probability": probability,
            "label_probability": probability if label == guess else 0.0,
            "label_rank": 1 if label == guess else 2,
        }
        for path, label, guess, probability in rows
    ]
    (folder / "predictions").mkdir(exist_ok=True)
    write_parquet(str(folder / "predictions" / f"{task}.parquet"), pa.Table.from_pylist(table, schema=PREDICTIONS))


def picture(number: int, colour: tuple[int, int, int]) -> bytes:
    """Return a PNG like no other: a colour with a white bar of its own length."""
    image = Image.new("RGB", (64, 64), colour)
    image.paste((255, 255, 255), (0, 0, 4 + 4 * number, 8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, num_images: int = 6) -> Path:
    """Write a folder of class folders, one a colour."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(num_images):
            (folder / name / f"{number}.png").write_bytes(picture(number, colour))
    return folder


def planted_rows(num_images: int = 6) -> list[tuple[str, str, str, float]]:
    """Return predictions of `write_images`: red always wrong, green once, blue thrice, grey never."""
    wrong = {"red": num_images, "green": 1, "blue": 3, "grey": 0}
    return [
        (f"{name}/{number}.png", name, "grey" if number < wrong[name] else name, 0.4 + 0.05 * number)
        for name in COLOURS
        for number in range(num_images)
    ]


def _shifted(classifier: str, accuracy: float, relative: float | None = None) -> dict[str, Any]:
    return {
        "classifier": classifier,
        "accuracy": accuracy,
        "interval": [0.58, 0.62],
        "pm0": None,
        "pm10": None,
        "imagenet_on_classes": 0.72,
        "x": 0.7,
        "expected": accuracy - 0.05,
        "effective": 0.05,
        "effective_interval": [0.03, 0.07],
        "gap_closed": 0.3,
        "relative": relative,
    }


def shift(name: str, published: float | None = None, has_own_names: bool = False) -> dict[str, Any]:
    """Return one set of what `wit evaluate-robustness` writes."""
    line = {
        "slope": 1.1,
        "correlation": 0.95,
        "num_models": 2,
        "points": [{"model": "m", "x": 0.6, "y": 0.5, "is_standard": True}, {"model": "n", "x": 0.8, "y": 0.7}],
        "curve": [{"x": 0.6, "y": 0.5, "low": 0.48, "high": 0.52}, {"x": 0.8, "y": 0.7, "low": 0.68, "high": 0.72}],
    }
    return {
        "name": name,
        "num_items": 100,
        "num_classes": 10,
        "left_out": {"num_classes": 0, "num_items": 0},
        "not_as_the_paper": ["100 judged"],
        "published": {"Zero-shot CLIP": published} if published else {},
        "results": [_shifted("zero_shot", 0.6), *([_shifted("own_names", 0.64, 0.04)] if has_own_names else [])],
        "standard": line,
    }


def shifts() -> dict[str, Any]:
    """Return what `wit evaluate-robustness` writes."""
    mean = _shifted("zero_shot", 0.6)
    return {
        "confidence": 0.995,
        "imagenet": {
            "num_items": 1000,
            "results": [{"classifier": "zero_shot", "accuracy": 0.7, "interval": [0.68, 0.72]}],
        },
        "shifts": [shift("ImageNetV2", 0.701), shift("ObjectNet", 0.723, has_own_names=True)],
        "mean": {
            "over": ["ImageNetV2", "ObjectNet"],
            "is_the_papers": False,
            "results": [mean | {"interval": None}],
            "standard": shift("mean")["standard"],
        },
        "standard": {"source": "models.csv", "num_models": 2},
        "remarks": ["a line to be shown"],
    }
