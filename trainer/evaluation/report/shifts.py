"""What `wit evaluate-robustness` leaves, read for a page; trainer.evaluation.shifts.results says what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.evaluation.report.reading import Reader, read_facts


@dataclass(frozen=True)
class Shifted:
    """What one classifier of the checkpoint reaches under a shift, or in the mean over shifts; shares of 1."""

    classifier: str
    accuracy: float
    on_classes: float
    """On ImageNet's images of the same classes."""
    x: float
    """The accuracy that standard models are compared by."""
    effective: float | None
    effective_interval: tuple[float, float] | None
    gap_closed: float | None
    relative: float | None
    """Against zero-shot."""
    interval: tuple[float, float] | None = None
    pm0: float | None = None
    pm10: float | None = None


@dataclass(frozen=True)
class Spot:
    """A model of the user's file."""

    model: str
    x: float
    y: float
    is_standard: bool
    """Whether the line is fitted to it."""


@dataclass(frozen=True)
class Standards:
    """The line of standard models and its band, along x; shares of 1."""

    slope: float
    correlation: float
    num_models: int
    spots: tuple[Spot, ...]
    curve: tuple[tuple[float, float, float, float], ...]
    """x, y, the band's low and high end."""


@dataclass(frozen=True)
class Shift:
    """A shifted set."""

    name: str
    num_items: int
    num_classes: int
    remarks: tuple[str, ...]
    """What keeps it from being compared with the paper's as it is."""
    published: Mapping[str, float]
    results: tuple[Shifted, ...]
    standards: Standards | None


@dataclass(frozen=True)
class Mean:
    """The mean over shifts."""

    over: tuple[str, ...]
    is_the_papers: bool
    """Whether it is over the paper's seven and no other."""
    results: tuple[Shifted, ...]
    standards: Standards | None


@dataclass(frozen=True)
class Robustness:
    """A checkpoint under natural distribution shift."""

    confidence: float
    imagenet: Mapping[str, tuple[float, tuple[float, float]]]
    """Accuracy and its interval by classifier."""
    num_items: int
    """Of ImageNet."""
    shifts: tuple[Shift, ...]
    mean: Mean
    standard_source: str
    """Blank: no standard models were given, and nothing can be said of effective robustness."""
    remarks: tuple[str, ...]
    facts: Mapping[str, object]
    """The whole file."""


def read_robustness(url: str) -> Robustness:
    """Return a file of `wit evaluate-robustness`; raises InputError that names the key of what is otherwise."""
    reader = Reader(url, read_facts(url, "imagenet", "shifts", "mean"))
    imagenet, standard = reader.part("imagenet"), reader.part("standard")
    mean = reader.part("mean")
    return Robustness(
        reader.share("confidence"),
        {row.text("classifier"): (row.share("accuracy"), row.interval("interval")) for row in imagenet.rows("results")},
        imagenet.count("num_items"),
        tuple(map(_shift, reader.rows("shifts"))),
        Mean(
            mean.texts("over"),
            mean.facts.get("is_the_papers") is True,
            tuple(map(_shifted, mean.rows("results"))),
            mean.maybe(lambda key: _standards(mean.part(key)), "standard"),
        ),
        standard.text("source") if standard.facts else "",
        reader.texts("remarks"),
        reader.facts,
    )


def _shift(row: Reader) -> Shift:
    left_out = row.part("left_out")
    num_left = left_out.maybe(left_out.count, "num_items") or 0
    outside = (f"{num_left:,} images without a class of ImageNet's are left out",) if num_left else ()
    return Shift(
        row.text("name"),
        row.count("num_items"),
        row.count("num_classes"),
        (*row.texts("not_as_the_paper"), *outside),
        row.numbers("published"),
        tuple(map(_shifted, row.rows("results"))),
        row.maybe(lambda key: _standards(row.part(key)), "standard"),
    )


def _shifted(row: Reader) -> Shifted:
    return Shifted(
        row.text("classifier"),
        row.share("accuracy"),
        row.share("imagenet_on_classes"),
        row.share("x"),
        row.maybe(row.number, "effective"),
        row.maybe(row.span, "effective_interval"),
        row.maybe(row.number, "gap_closed"),
        row.maybe(row.number, "relative"),
        row.maybe(row.interval, "interval"),
        row.maybe(row.share, "pm0"),
        row.maybe(row.share, "pm10"),
    )


def _standards(line: Reader) -> Standards:
    return Standards(
        line.number("slope"),
        line.number("correlation"),
        line.count("num_models"),
        tuple(
            Spot(row.text("model"), row.share("x"), row.share("y"), row.facts.get("is_standard") is not False)
            for row in line.rows("points")
        ),
        tuple((row.share("x"), row.share("y"), row.share("low"), row.share("high")) for row in line.rows("curve")),
    )
