"""filter_image: an image stays when its facts say that it can show something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from pipelines.stages.verb import RunSettings
from wit.schema import IMAGES, REJECTS
from wit.stage import KEPT, Output, Part, Step
from wit.stage import REJECTS as REJECTS_TABLE


@dataclass(frozen=True)
class FilterImage:
    """Rejects images by the facts that fetch counted; no pixel is read again."""

    min_side_px: int = field(default=64, metadata={"min": 1, "help": "least shorter side of the original, in pixels"})
    max_aspect: float = field(
        default=3.0, metadata={"min": 1.0, "help": "most longer side / shorter side of the original"}
    )
    min_entropy_bits: float = field(
        default=1.0,
        metadata={"min": 0.0, "max": 8.0, "help": "least entropy of the 256-level grey histogram: below lie blanks"},
    )
    allow_animated: bool = field(default=False, metadata={"help": "keep the first frame of animations"})

    name: ClassVar[str] = "filter_image"
    reads: ClassVar[pa.Schema] = IMAGES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}
    reasons: ClassVar[dict[str, str]] = {
        "too_small": "the original's shorter side is under min_side_px",
        "extreme_aspect": "its longer side is more than max_aspect times the shorter",
        "low_entropy": "its grey histogram has less than min_entropy_bits: blank, or nearly",
        "animated": "it has several frames",
    }

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """One map over the images' facts."""
        return (Step(self, {"images": "fetch/kept"}, "filter_image"),)

    def inputs(self) -> tuple[str, ...]:
        """None."""
        return ()

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield kept images and rejects in the order read; the first rule that fails is the reason."""
        for batch in batches:
            verdicts = [self.judge(image) for image in batch.to_pylist()]
            yield KEPT, batch.filter(pa.array([verdict is None for verdict in verdicts]))
            rejects = [
                {
                    "key": key,
                    "bucket": bucket,
                    "stage": self.name,
                    "reason": verdict[0],
                    "detail": verdict[1],
                    "url": None,
                    "caption": None,
                }
                for key, bucket, verdict in zip(
                    batch["key"].to_pylist(), batch["bucket"].to_pylist(), verdicts, strict=True
                )
                if verdict
            ]
            yield REJECTS_TABLE, pa.RecordBatch.from_pylist(rejects, schema=REJECTS)

    def judge(self, image: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return (reason, detail) for a row of IMAGES that is rejected, or None."""
        longer = max(image["original_width"], image["original_height"])
        shorter = min(image["original_width"], image["original_height"])
        size = f"{image['original_width']} x {image['original_height']} px"
        if shorter < self.min_side_px:
            return "too_small", size
        if longer > self.max_aspect * shorter:
            return "extreme_aspect", size
        if image["entropy"] < self.min_entropy_bits:
            return "low_entropy", f"{image['entropy']:.2f} bits"
        if image["num_frames"] > 1 and not self.allow_animated:
            return "animated", f"{image['num_frames']} frames"
        return None
