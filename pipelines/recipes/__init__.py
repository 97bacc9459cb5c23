"""Recipes: one section a stage, in the order of the chain."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from importlib import resources

from pipelines.stages.balance import Balance
from pipelines.stages.dedup import Dedup
from pipelines.stages.extract import Extract
from pipelines.stages.fetch import Fetch
from pipelines.stages.filter_image import FilterImage
from pipelines.stages.filter_text import FilterText
from pipelines.stages.fingerprint import Fingerprint
from pipelines.stages.match import Match
from pipelines.stages.overlap import Overlap
from pipelines.stages.pack import Pack
from pipelines.stages.verb import RunSettings, Verb
from wit.storage import exists, is_remote


@dataclass(frozen=True)
class Recipe:
    """What one run does: shared settings, then a section for each of the ten stages."""

    run: RunSettings = field(default_factory=RunSettings)
    extract: Extract = field(default_factory=Extract)
    filter_text: FilterText = field(default_factory=FilterText)
    match: Match = field(default_factory=Match)
    balance: Balance = field(default_factory=Balance)
    fetch: Fetch = field(default_factory=Fetch)
    filter_image: FilterImage = field(default_factory=FilterImage)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    dedup: Dedup = field(default_factory=Dedup)
    overlap: Overlap = field(default_factory=Overlap)
    pack: Pack = field(default_factory=Pack)

    def verbs(self) -> tuple[Verb, ...]:
        """Return the ten stages in order; dedup, overlap and pack heed what fingerprint and balance say.

        Raises RecipeError when that does not fit.
        """
        bound: dict[str, Verb] = {
            "dedup": self.dedup.after(self.fingerprint),
            "overlap": self.overlap.after(self.fingerprint),
            "pack": self.pack.after(self.balance),
        }
        return tuple(bound.get(name) or getattr(self, name) for name in STAGES)


STAGES: tuple[str, ...] = tuple(each.name for each in fields(Recipe) if each.name != "run")


def recipe_path(name: str) -> str:
    """Return the path of a recipe: a file as given, or one that ships with wit (`tiny`, `wit400m`)."""
    shipped = resources.files(__package__) / f"{name}.toml"
    if not is_remote(name) and not exists(name) and shipped.is_file():
        return str(shipped)
    return name
