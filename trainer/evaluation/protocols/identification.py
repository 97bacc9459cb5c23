"""Names of the people pictured, of 100, 1,000 and 2,000 names (paper, section 7.2, CelebA).

The paper does not say how it chose the names, nor of whom the pictures were at each number. Both readings are here:
PEOPLE takes the pictures of the people whose names are drawn, EVERY_IMAGE all pictures, each against its own name and
others that are drawn. Names are drawn by a hash, so that fewer names are some of more.

Shapes: N pictures, C names, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.protocols.findings import Bools, Finding, Floats, require_rows, share_of, similarities
from trainer.evaluation.protocols.warning import SURVEILLANCE
from trainer.evaluation.tables import read_rows
from wit.errors import InputError
from wit.keys import uniform_rank

SIZES = (100, 1_000, 2_000)
PEOPLE, EVERY_IMAGE = "people", "every image"
TEMPLATES = ("a photo of {label}.",)
"""Ours: the paper's are not published."""
SALT = "identification"


@dataclass(frozen=True)
class People:
    """Pictures by name of file, the names of people in order, and who is in each picture."""

    images: tuple[str, ...]
    names: tuple[str, ...]
    who: tuple[int, ...]

    def keep(self, kept: Sequence[int]) -> People:
        """Return some of the pictures, by number, with all names."""
        return People(tuple(self.images[place] for place in kept), self.names, tuple(self.who[place] for place in kept))


def read_people(url: str) -> People:
    """Return the rows of image and name of a file; raises InputError when it has fewer than two names.

    Rows without an image add a name that nobody pictured has.
    """
    rows = read_rows(url, ("image", "name"), once="image")
    names = sorted({row.text("name") for row in rows})
    if len(names) < 2:
        raise InputError(f"{url}: expected at least two names, found {len(names)}")
    places = {name: place for place, name in enumerate(names)}
    pictured = [row for row in rows if row.optional("image")]
    return People(
        tuple(row.text("image") for row in pictured),
        tuple(names),
        tuple(places[row.text("name")] for row in pictured),
    )


def draw_names(names: Sequence[str]) -> list[int]:
    """Return the places of names in the order in which they are drawn: by a hash of each."""
    return sorted(range(len(names)), key=lambda place: (uniform_rank(SALT, names[place]), place))


def name_right(image_ND: Floats, name_CD: Floats, people: People, num_names: int, reading: str) -> Bools:
    """Return whether the nearest of `num_names` names is the right one, a picture of those that the reading takes.

    A name that scores the same as the right one and stands before it in `people.names` is the nearer.
    """
    scores_NC = similarities(image_ND, name_CD)
    who_N = np.array(people.who)
    order_C = np.array(draw_names(people.names))
    rank_C = np.argsort(order_C)
    if reading == PEOPLE:
        kept_N, is_choice_NC = rank_C[who_N] < num_names, np.broadcast_to(rank_C < num_names, scores_NC.shape)
    else:  # one's own name, and the first others
        after_NC = rank_C[None] + (rank_C[None] < rank_C[who_N, None])
        kept_N, is_choice_NC = np.ones(len(who_N), np.bool_), after_NC < num_names
        is_choice_NC[np.arange(len(who_N)), who_N] = True
    best_N = np.where(is_choice_NC, scores_NC, -np.inf).argmax(axis=1)
    right: Bools = (best_N == who_N)[kept_N]
    return right


def measure_identification(
    image_ND: Floats, name_CD: Floats, people: People, task: str, reading: str = PEOPLE
) -> tuple[Finding, ...]:
    """Return the accuracy at each of SIZES that there are names for, else at as many as there are.

    Raises InputError when embeddings differ in number from `people`, and when no picture is of the people drawn.
    """
    require_rows("pictures", len(image_ND), len(people.images))
    require_rows("names", len(name_CD), len(people.names))
    sizes = [size for size in SIZES if size <= len(people.names)] or [len(people.names)]
    shares = {size: share_of(name_right(image_ND, name_CD, people, size, reading)) for size in sizes}
    for size, share in shares.items():
        if not share.num_items:
            raise InputError(
                f"{task}: expected pictures of some of the {size} people whose names are drawn, found none; bring "
                "pictures of more people, or take identification_every_image"
            )
    return tuple(
        Finding(
            task,
            f"identification_{reading.replace(' ', '_')}_{size}",
            "accuracy",
            share,
            num_classes=size,
            chance=1 / size,
            details={
                "pictures": reading,
                "warning": SURVEILLANCE,
            },
        )
        for size, share in shares.items()
    )
