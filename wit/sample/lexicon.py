"""The words of the miniature world: what its pictures show, what its encyclopedia writes about."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 137, 20),
    "yellow": (250, 220, 40),
    "green": (40, 160, 60),
    "cyan": (30, 200, 210),
    "blue": (35, 80, 210),
    "purple": (135, 50, 190),
    "pink": (245, 130, 190),
    "brown": (125, 75, 40),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
"""sRGB of each colour word."""

SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "cross",
    "ring",
    "crescent",
    "arrow",
    "diamond",
    "hexagon",
    "flower",
)
"""What can be drawn; each is a closed figure that a small network can tell from the others."""

COUNTS = ("one", "two", "three", "four", "five")
POSITIONS = ("left", "right", "top", "bottom", "center")
TEXTURES = ("plain", "striped", "dotted", "checkered")
DIGITS = tuple("0123456789")

PLACES = (
    "Veldana",
    "Orrin",
    "Tasmere",
    "Kolvik",
    "Brannoch",
    "Ilvara",
    "Sundale",
    "Marrowby",
    "Quenby",
    "Hestria",
    "Dunmarrow",
    "Falkirk Reach",
    "Lake Amberlin",
    "Mount Corvane",
    "Port Selwyn",
    "Saint Ysolde",
    "North Wexcombe",
    "Upper Thornley",
    "River Glinsk",
    "Castle Redmoor",
    "Abbey Holmfirth",
    "Isle of Carrick",
    "Gulf of Tamar",
    "Bay of Ferrin",
)
"""Places of the miniature world; each has an article, and a caption may name it."""

NONSENSE = (
    "zorvex",
    "quillop",
    "brastin",
    "wumdrel",
    "fiskarn",
    "glothby",
    "plemsit",
    "drovunt",
    "skelvar",
    "yintock",
    "hubbran",
    "crelmy",
    "vasploo",
    "tundrix",
    "oblaym",
    "knezzle",
    "jorvact",
    "mipstan",
    "ruskwal",
    "xanterb",
)
"""Words that no source of queries holds: a caption made of them alone matches nothing."""
