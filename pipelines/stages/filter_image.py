"""filter_image: an image stays when its facts say that it can show something; no pixel is read again.

Sides, aspect and area are those of the original, upright. A placeholder ("photo not available") is known by its bytes:
they came for more than `max_urls` distinct URLs of the run. The URLs counted are those that were asked, so that many
that lead to one picture count as many. Memory: the bodies above that limit, at most images / `max_urls` of them with
100 bytes each, and one batch of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import sql
from pipelines.stages.rejects import reject_pairs
from pipelines.stages.tables import read_small
from pipelines.stages.verb import RunSettings
from wit.blocklists import read_digests
from wit.errors import RecipeError
from wit.keys import KEY_HEX_DIGITS, key_buckets
from wit.schema import IMAGES, REJECTS, REPEATED, SIGHTINGS
from wit.stage import KEPT, Output, Part, SqlStage, Step, View
from wit.stage import REJECTS as REJECTS_TABLE

SIGHTINGS_TABLE = "filter_image/sightings"
REPEATED_TABLE = "filter_image/repeated"
LISTED = "listed"
"""Detail of a placeholder that is on the user's list."""

_BY_SIZE = {
    "too_small": "the original's shorter side is under min_side_px",
    "too_large": "its longer side is over max_side_px",
    "extreme_aspect": "its longer side is more than max_aspect times the shorter",
    "small_area": "it has fewer pixels than min_area_px",
    "large_area": "it has more pixels than max_area_px",
}
_LOW_ENTROPY, _ANIMATED, _PLACEHOLDER = "low_entropy", "animated", "placeholder"


@dataclass(frozen=True)
class FilterImage:
    """Rejects images by the facts that fetch counted; the first rule that fails is the reason."""

    min_side_px: int = field(default=64, metadata={"min": 1, "help": "least shorter side of the original, in pixels"})
    max_side_px: int = field(default=0, metadata={"min": 0, "help": "most longer side, in pixels; 0: any"})
    max_aspect: float = field(
        default=3.0, metadata={"min": 1.0, "help": "most longer side / shorter side of the original"}
    )
    min_area_px: int = field(default=0, metadata={"min": 0, "help": "fewest pixels of the original"})
    max_area_px: int = field(default=0, metadata={"min": 0, "help": "most pixels of the original; 0: any number"})
    min_entropy_bits: float = field(
        default=1.0,
        metadata={"min": 0.0, "max": 8.0, "help": "least entropy of the 256-level grey histogram: below lie blanks"},
    )
    allow_animated: bool = field(default=False, metadata={"help": "keep the first frame of animations"})
    max_urls: int = field(
        default=50,
        metadata={"min": 0, "help": "most URLs of the run with the very same bytes; beyond, a placeholder; 0: any"},
    )
    placeholders: tuple[str, ...] = field(
        default=(), metadata={"help": "files of SHA-256 digests (hex) of known placeholders, one a line"}
    )

    name: ClassVar[str] = "filter_image"
    reads: ClassVar[pa.Schema] = IMAGES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}
    reasons: ClassVar[dict[str, str]] = {
        **_BY_SIZE,
        _LOW_ENTROPY: "its grey histogram has less than min_entropy_bits: blank, or nearly",
        _ANIMATED: "it has several frames",
        _PLACEHOLDER: "its bytes came for more than max_urls URLs, or are on the list of placeholders",
    }

    def __post_init__(self) -> None:
        for low, high in (("min_side_px", "max_side_px"), ("min_area_px", "max_area_px")):
            if 0 < getattr(self, high) < getattr(self, low):
                raise RecipeError(
                    f"filter_image.{high}: expected at least {low}, {getattr(self, low)}, found {getattr(self, high)}"
                )

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Count the URLs of each body, unless that is switched off, then judge every image."""
        judge = Step(self, {"images": "fetch/kept"}, self.name)
        if not self.max_urls:
            return (judge,)
        repeated = SqlStage(
            name=self.name,
            sql=sql.read("filter_image_repeated"),
            reads={"sightings": View(SIGHTINGS, "body_bucket")},
            writes=REPEATED,
            bucket="body_bucket",
            sort_by=("original_sha256",),
            parameters={"max_urls": self.max_urls},
        )
        return (
            Step(ListBodies(run.num_buckets), {"images": "fetch/kept"}, SIGHTINGS_TABLE),
            Step(repeated, {"sightings": f"{SIGHTINGS_TABLE}/{KEPT}"}, REPEATED_TABLE),
            judge,
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the user's lists; raises InputError for a line of them that is no digest."""
        read_digests(self.placeholders)
        return self.placeholders

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield kept images and rejects in the order read."""
        repeated = read_small(part.root, REPEATED_TABLE, REPEATED) if self.max_urls else REPEATED.empty_table()
        known, counts = (repeated[name].combine_chunks() for name in ("original_sha256", "num_urls"))
        listed = read_digests(self.placeholders)
        for batch in batches:
            num_urls = counts.take(pc.index_in(batch["original_sha256"], known))
            is_listed = pc.is_in(batch["original_sha256"], listed)
            reasons = self._reasons(batch, pc.or_(num_urls.is_valid(), is_listed))
            is_kept = reasons.is_null()
            yield KEPT, batch.filter(is_kept)
            rejected = pc.invert(is_kept)
            rows, reasons = batch.filter(rejected), reasons.filter(rejected)
            details = _details(rows, reasons, num_urls.filter(rejected))
            yield REJECTS_TABLE, reject_pairs(rows, self.name, reasons, details)

    def _reasons(self, images: pa.RecordBatch, is_placeholder: pa.Array) -> pa.Array:
        """Return the reason of each image that is rejected, null for the others."""
        width, height = (images[f"original_{side}"].cast(pa.int64()) for side in ("width", "height"))
        longer, shorter = pc.max_element_wise(width, height), pc.min_element_wise(width, height)
        area = pc.multiply(width, height)
        fails = {
            "too_small": pc.less(shorter, self.min_side_px),
            "too_large": pc.greater(longer, self.max_side_px or np.iinfo(np.int64).max),
            "extreme_aspect": pc.greater(longer.cast(pa.float64()), pc.multiply(shorter, self.max_aspect)),
            "small_area": pc.less(area, self.min_area_px),
            "large_area": pc.greater(area, self.max_area_px or np.iinfo(np.int64).max),
            _LOW_ENTROPY: pc.less(images["entropy"], self.min_entropy_bits),
            _ANIMATED: pc.greater(images["num_frames"], np.iinfo(np.int32).max if self.allow_animated else 1),
            _PLACEHOLDER: is_placeholder,
        }
        reasons = pa.nulls(images.num_rows, pa.string())
        for reason in reversed(self.reasons):  # so that the first has the last word
            reasons = pc.if_else(fails[reason], reason, reasons)
        return reasons


def _details(images: pa.RecordBatch, reasons: pa.Array, num_urls: pa.Array) -> pa.Array:
    """Return what was found of rejected images: size, entropy (cut off, not rounded up to the limit), frames, URLs."""
    text = pa.string()
    size = [images["original_width"].cast(text), " x ", images["original_height"].cast(text), " px", ""]
    hundredths = pc.floor(pc.multiply(images["entropy"], 100.0))
    joined = pc.binary_join_element_wise
    found = {
        **dict.fromkeys(_BY_SIZE, joined(*size)),
        _LOW_ENTROPY: joined(pc.divide(hundredths, 100.0).cast(text), " bits", ""),
        _ANIMATED: joined(images["num_frames"].cast(text), " frames", ""),
        _PLACEHOLDER: joined(num_urls.cast(text), " URLs", "").fill_null(LISTED),
    }
    details = pa.nulls(images.num_rows, text)
    for reason, each in found.items():
        details = pc.if_else(pc.equal(reasons, reason), each, details)
    return details


@dataclass(frozen=True)
class ListBodies:
    """Says of each image which body it was, and where that is stored: once a URL."""

    num_buckets: int

    name: ClassVar[str] = "list_bodies"
    reads: ClassVar[pa.Schema] = pa.schema([IMAGES.field("original_sha256"), IMAGES.field("offset")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: SIGHTINGS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield SIGHTINGS in the order read."""
        for batch in batches:
            digests, offsets = batch["original_sha256"], batch["offset"]
            buckets = key_buckets(pc.utf8_slice_codeunits(digests, 0, KEY_HEX_DIGITS), self.num_buckets)
            places = np.full(len(digests), part.index, np.int32)
            yield (
                KEPT,
                pa.RecordBatch.from_arrays([digests, pa.array(buckets), pa.array(places), offsets], schema=SIGHTINGS),
            )
