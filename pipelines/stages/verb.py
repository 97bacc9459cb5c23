"""What every verb of the chain is: a recipe section that can say its steps and its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from wit.stage import Step


@dataclass(frozen=True)
class RunSettings:
    """What all stages share (recipe section `[run]`)."""

    num_buckets: int = field(
        default=16,
        metadata={
            "min": 1,
            "max": 65_536,
            "help": "parts into which the key space is cut; bounds the memory of one part",
        },
    )
    salt: str = field(default="wit", metadata={"help": "salt of the uniform rank: another salt draws another sample"})


class Verb(Protocol):
    """A section of a recipe: a frozen dataclass whose fields are the stage's configuration."""

    name: ClassVar[str]
    reasons: ClassVar[dict[str, str]]
    """Every reason with which the stage may reject a candidate, and what it means."""

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Return the steps of the stage, in order."""

    def inputs(self) -> tuple[str, ...]:
        """Return the files outside the run that the stage reads (paths, URLs, patterns)."""
