"""What the miniature encyclopedia has articles about, what redirects to them, and how often each is read.

Views are the sums over all hourly files, all spellings and all redirects; the threshold of the sample is 70.
"""

from __future__ import annotations

import random

from wit.sample.lexicon import COLOURS, PLACES, SHAPES

NUM_ARTICLES = 300

_SUBJECTS = (
    "Steam engine",
    "Windmill",
    "Lighthouse",
    "Sundial",
    "Printing press",
    "Suspension bridge",
    "Water clock",
    "Rope walk",
    "Railway station",
    "Market square",
    "Night sky",
    "Wine cellar",
    "Stained glass",
    "Chess problem",
    "Sea urchin",
    "Snow leopard",
    "Barn owl",
    "Red panda",
    "Sperm whale",
    "Honey bee",
    "Sugar maple",
    "Apple tree",
    "Wild garlic",
    "List of rivers of Veldana",
    "History of Orrin",
    "Battle of Tasmere",
    "Treaty of Kolvik",
    "University of Hestria",
)

PLANTED_VIEWS = {
    "St. Elwin": 640,  # a full stop inside
    "Café Marlowe": 410,  # percent-encoded and raw in the files
    "Rock 'n' Roll": 390,
    "Fire & Ice": 310,
    "Orrin's Door": 305,  # a possessive
    "Star: A History": 300,  # a colon that names no namespace
    "Sea/Sky": 290,
    'The "Amber" Letters': 280,
    "100% Wool": 275,
    "C++": 270,
    "Straße der Lieder": 265,
    "Mercury (planet)": 960,  # two articles, one term: the more viewed stands for it
    "Mercury (element)": 240,
    "Diamond (gem)": 255,
    "(Untitled)": 250,  # nothing stands before the brackets, so they are the title
    "!!!": 900,  # no word at all: never a term
    "Weaving in Veldana": 70,  # exactly at the threshold
    "Pottery in Veldana": 69,  # just below
    "Quarry of Hestria": 80,  # over it only with the views of its redirects
}
"""Title: views, for articles planted to try one rule each."""

ARTICLES = (
    *PLACES,
    *(shape.capitalize() for shape in SHAPES if shape != "diamond"),
    *(f"{colour.capitalize()} (colour)" for colour in COLOURS),
    *_SUBJECTS,
    *PLANTED_VIEWS,
)

REDIRECTS = {
    "Quarry at Hestria": "Quarry of Hestria",
    "Hestria quarry": "Quarry of Hestria",
    "Saint Elwin": "St. Elwin",
    "Cafe Marlowe": "Café Marlowe",
    "Street of songs": "Straße der Lieder",
    "Colour red": "Red (colour)",
    "Old Veldana": "Ancient Veldana",  # a redirect to a redirect: followed to its end
    "Ancient Veldana": "Veldana",
    "Circular reasoning": "Reasoning in circles",  # a loop: its views belong to no article
    "Reasoning in circles": "Circular reasoning",
    "Lost harbour": "Article that nobody wrote",  # to nothing: likewise
    "All birds": "Category:Birds",  # to another namespace: likewise
}
"""Redirect: where it leads."""

REDIRECT_VIEWS = {
    "Quarry at Hestria": 12,
    "Hestria quarry": 13,
    "Saint Elwin": 33,
    "Cafe Marlowe": 20,
    "Street of songs": 9,
    "Colour red": 15,
    "Old Veldana": 30,
    "Ancient Veldana": 40,
    "Circular reasoning": 500,
    "Reasoning in circles": 500,
    "Lost harbour": 500,
    "All birds": 500,
}
"""Redirect: views of its own, which count for its target; the rest of the target's views name the target."""

OTHER_VIEWS = {
    "Main_Page": 90_000,
    "Special:Search": 30_000,
    "Talk:Veldana": 400,
    "User:Amberlin": 300,
    "Category:Birds": 350,
    "File:Lighthouse.jpg": 320,
    "Wikipedia:About": 310,
    "-": 5_000,
    "Article_that_was_deleted": 800,
    "wp-login.php": 700,
}
"""Names in the hourly files that are no articles of the dump, as they are spelt there: views."""


def plan_views(titles: list[str], rng: random.Random) -> dict[str, int]:
    """Return the views of every article: planted, high for what captions name, a tail on both sides of 70."""
    views = {}
    for title in titles:
        if title in PLANTED_VIEWS:
            views[title] = PLANTED_VIEWS[title]
        elif title in ARTICLES:
            views[title] = rng.randrange(150, 2000)
        else:
            views[title] = rng.randrange(0, 60) if rng.random() < 0.6 else rng.randrange(75, 400)
    return views
