"""Prompts that put a class name into a sentence, as captions do."""

from __future__ import annotations

from wit.errors import InputError
from wit.storage import exists, read_bytes

TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": ("A photo of a {label}.",),
    "sample": (
        "a {label}",
        "one {label}",
        "a picture of a {label}",
        "a drawing of a {label}",
        "a photo of a {label}",
        "there is a {label} here",
        "a {label} on a plain background",
    ),
}
"""By name. `photo` is the paper's default (section 3.1.4); `sample` is worded like the miniature web's captions."""


def read_templates(name: str) -> tuple[str, ...]:
    """Return the templates of a name, or those of a file with one a line; each holds {label} once.

    Raises InputError.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    if not exists(name):
        raise InputError(f"{name}: expected a file of templates or one of {', '.join(TEMPLATES)}, found neither")
    templates = tuple(line.strip() for line in read_bytes(name).decode("utf-8", "replace").splitlines() if line.strip())
    for number, template in enumerate(templates, 1):
        if template.count("{label}") != 1:
            raise InputError(f"{name}: template {number}: expected {{label}} once, found {template[:60]!r}")
    if not templates:
        raise InputError(f"{name}: expected a template a line, found none")
    return templates
