"""dedup: of each cluster of near-duplicate images one stays, and none stays that earlier shards hold.

Near-duplicates are images whose prints are within the radius of the rule (wit.near); images of equal content always
are. The search is exact. It is cut by the low bits of a hash into places, and each pair of places is a task
(`searching`), so that the memory of a task does not grow with the run, only the number of tasks: with the square of
the prints. So do the edges with the different prints that one picture has, 2e8 for 20,000. Clusters are found in
one task over the edges and copies that were found (`claiming`, `clustering`): of the images without near-duplicates it
holds nothing. Measured on one core, 10 million prints of which 3.7 million have near-duplicates within 10 bits of pHash
and 31 of PDQ: 2 minutes, 43 s of them in the search.

Tables, each by the step that writes it: dedup/images (entries: prints and contents), dedup/copies (images with a print
or content that another has), dedup/edges (pairs of prints that are near), dedup/clusters, and what comes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pipelines import sql
from pipelines.stages.dedup.claiming import NO_LIMIT
from pipelines.stages.dedup.clustering import COPIES_TABLE, CRITERIA, EDGES_TABLE, IMAGES_TABLE, FindClusters
from pipelines.stages.dedup.describing import (
    FINGERPRINTS_TABLE,
    NUMBERS_TABLE,
    PACKED_SHARDS_TABLE,
    DescribeImages,
    NumberImages,
)
from pipelines.stages.dedup.packed import DescribePacked, ListPacked, packed_inputs
from pipelines.stages.dedup.parting import ALREADY_PACKED, NEAR_DUPLICATE, PartImages
from pipelines.stages.dedup.searching import PACKED_PRINTS_TABLE, PRINTS_TABLE, PairPlaces, SearchPlaces
from pipelines.stages.fingerprint import Fingerprint
from pipelines.stages.rules import rule_field, rule_of
from pipelines.stages.verb import RunSettings
from wit.errors import RecipeError
from wit.near import Rule
from wit.schema import COPIES, ENTRIES
from wit.stage import KEPT, SqlStage, Step, View

STAR, COMPONENTS = "star", "components"

_RULE = Rule()


@dataclass(frozen=True)
class Dedup:
    """Keeps one image of each cluster of near-duplicates."""

    hash: str = rule_field("hash", _RULE)
    phash_radius: int = rule_field("phash_radius", _RULE)
    pdq_radius: int = rule_field("pdq_radius", _RULE)
    min_quality: int = rule_field("min_quality", _RULE)
    turns: bool = field(
        default=False, metadata={"help": "turned images are near-duplicates, too: as fingerprint.turns turns them"}
    )
    clusters: str = field(
        default=STAR,
        metadata={
            "choices": (STAR, COMPONENTS),
            "help": "star: who goes is near the one that stays; components: or a chain of near-duplicates leads to it",
        },
    )
    max_distance: int = field(
        default=0, metadata={"min": 0, "help": "bits that a chain of components may have in all; 0: any number"}
    )
    survivor: tuple[str, ...] = field(
        default=("pixels", "caption", "rank"),
        metadata={
            "choices": tuple(CRITERIA),
            "help": "what decides who stays, the first before the others: most pixels, longest caption, lowest rank",
        },
    )
    keep_captions: bool = field(
        default=False, metadata={"help": "of a cluster one image stays for each of its captions in normal form"}
    )
    against: tuple[str, ...] = field(
        default=(), metadata={"help": "shards whose images are there already: folders, URLs or patterns of tars"}
    )

    name: ClassVar[str] = "dedup"
    reasons: ClassVar[dict[str, str]] = {
        NEAR_DUPLICATE: "another image of its cluster stays; the detail is its key, and the distance",
        ALREADY_PACKED: "a shard of `against` has it or a near-duplicate; the detail says which, and the distance",
    }

    def __post_init__(self) -> None:
        if len(set(self.survivor)) < len(self.survivor):
            raise RecipeError(f"dedup.survivor: expected each criterion once, found {list(self.survivor)}")
        if self.max_distance and self.clusters == STAR:
            raise RecipeError('dedup.max_distance: expected 0 with clusters = "star", which has no chains')

    @property
    def rule(self) -> Rule:
        """When two prints are near-duplicates."""
        return rule_of(self)

    @property
    def needs_captions(self) -> bool:
        """Whether captions decide anything."""
        return self.keep_captions or "caption" in self.survivor

    def steps(self, run: RunSettings, hashing: Fingerprint | None = None) -> tuple[Step, ...]:
        """Number the images, list their prints, search, cluster, and part the rows by it.

        `hashing` says how images in shards of `against` are hashed whose indexes have no prints.
        """
        rule = self.rule
        limit = None if self.clusters == STAR else self.max_distance or NO_LIMIT
        describe = DescribeImages(rule, self.turns, self.needs_captions)
        cluster = FindClusters(limit, self.survivor, self.keep_captions)
        return (
            *((Step(ListPacked(self.against), {}, PACKED_SHARDS_TABLE),) if self.against else ()),
            Step(NumberImages(run.num_buckets, self.turns, bool(self.against)), {}, NUMBERS_TABLE),
            Step(describe, {"fingerprints": FINGERPRINTS_TABLE}, IMAGES_TABLE),
            Step(self._first_of("entries"), {"entries": _ENTRIES_TABLE}, PRINTS_TABLE),
            Step(self._copies(), {"entries": _ENTRIES_TABLE, "prints": PRINTS_TABLE}, COPIES_TABLE),
            *(self._packed_steps(hashing or Fingerprint()) if self.against else ()),
            Step(PairPlaces(rule), {}, "dedup/pairs"),
            Step(SearchPlaces(rule, bool(self.against)), {"pairs": "dedup/pairs"}, EDGES_TABLE),
            Step(cluster, {"numbers": NUMBERS_TABLE}, "dedup/clusters"),
            Step(PartImages(), {"fingerprints": FINGERPRINTS_TABLE}, self.name),
        )

    def _packed_steps(self, hashing: Fingerprint) -> tuple[Step, ...]:
        describe = DescribePacked(self.rule, hashing)
        return (
            Step(describe, {"shards": PACKED_SHARDS_TABLE}, "dedup/packed"),
            Step(self._first_of("packed"), {"entries": f"dedup/packed/{KEPT}"}, PACKED_PRINTS_TABLE),
        )

    def _first_of(self, name: str) -> SqlStage:
        """Return the stage that keeps one entry of each print or content."""
        return SqlStage(
            name=name,
            sql=sql.read("dedup_prints"),
            reads={"entries": View(ENTRIES, "place")},
            writes=ENTRIES,
            bucket="place",
            sort_by=("entry",),
        )

    def _copies(self) -> SqlStage:
        return SqlStage(
            name=self.name,
            sql=sql.read("dedup_copies"),
            reads={"entries": View(ENTRIES, "place"), "prints": View(ENTRIES, "place")},
            writes=COPIES,
            bucket="place",
            sort_by=("entry",),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the sets of shards that images are held against; raises InputError now for one without shards."""
        return packed_inputs(self.against)

    def after(self, fingerprint: Fingerprint) -> DedupAfter:
        """Return the stage as it goes on from `fingerprint`; raises RecipeError when that does not turn images."""
        if self.turns and fingerprint.turns == "none":
            raise RecipeError('dedup.turns: expected fingerprint.turns = "mirror" or "all", found "none"; set it, too')
        return DedupAfter(self, fingerprint)


_ENTRIES_TABLE = f"{IMAGES_TABLE}/{KEPT}"


@dataclass(frozen=True)
class DedupAfter:
    """Dedup that hashes as the section of fingerprint says."""

    dedup: Dedup
    fingerprint: Fingerprint

    name: ClassVar[str] = Dedup.name
    reasons: ClassVar[dict[str, str]] = Dedup.reasons

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Return the steps of dedup."""
        return self.dedup.steps(run, self.fingerprint)

    def inputs(self) -> tuple[str, ...]:
        """Return the inputs of dedup."""
        return self.dedup.inputs()
