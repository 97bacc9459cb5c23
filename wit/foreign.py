"""WebDataset tars made by anyone: their samples, and what JSON members say of them.

A sample is the members, next to each other, that share a stem: their path up to the first dot of the file name. A
suffix that comes again begins a new sample. Names that begin with a dot, links and folders belong to none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import orjson

from wit import tar

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
TEXT_SUFFIXES = ("txt", "caption")
"""Suffixes of members that are captions, the first that is there before the others."""
URL_FIELDS = ("url", "URL", "image_url", "img_url", "imageUrl", "src")
CAPTION_FIELDS = (
    "caption", "TEXT", "text", "alt", "alt_text", "top_caption", "CAPTION", "title", "description",
    "raw_caption", "caption_reference_description", "caption_alt_text_description", "txt",
)  # fmt: skip
"""Names under which published sets of pairs have captions, the first that holds a text before the others."""
MAX_TEXT_BYTES = 16 << 20
"""Of a caption or a JSON member that is read."""
MAX_IMAGE_BYTES = 256 << 20
"""Of an image that is read; a sample with a larger one is left out of its index."""
MAX_MEMBERS = 1_000
"""Of a sample; more begin a new one."""


@dataclass(frozen=True)
class ForeignSample:
    """The members of a sample, in the tar's order."""

    stem: str
    members: tuple[tar.Member, ...]

    @property
    def start(self) -> int:
        """Where its first member's headers begin."""
        return self.members[0].start

    @property
    def stop(self) -> int:
        """Where the next sample may begin."""
        return self.members[-1].stop

    def image(self) -> tar.Member | None:
        """Return the first member that is named as an image."""
        return next((each for each in self.members if last_suffix(each.name) in IMAGE_SUFFIXES), None)

    def indexed_image(self) -> tar.Member | None:
        """Return the image by which the sample is in an index; None where it has none, an empty or too large a one."""
        image = self.image()
        return image if image and 0 < image.length <= MAX_IMAGE_BYTES else None

    def find(self, suffix: str) -> tar.Member | None:
        """Return the first member with a suffix (in small letters, without what may stand between two dots)."""
        return next((each for each in self.members if last_suffix(each.name) == suffix), None)


def split_name(name: str) -> tuple[str, str]:
    """Return the stem of a member's name, and its suffix without the first dot."""
    folder, slash, base = name.rpartition("/")
    first, _, suffix = base.partition(".")
    return f"{folder}{slash}{first}", suffix


def last_suffix(name: str) -> str:
    """Return what follows the last dot of a member's name, in small letters."""
    return split_name(name)[1].rpartition(".")[2].lower()


def read_tar(file: IO[bytes], url: str, start: int = 0) -> Iterator[ForeignSample]:
    """Yield the samples of an uncompressed tar from where a member begins; raises InputError as `tar.members` does.

    Only headers are read. Memory: the headers of one sample.
    """
    stem, members, suffixes = "", list[tar.Member](), set[str]()
    for member in tar.members(file, url, start):
        found, suffix = split_name(member.name)
        if not found or found.endswith("/"):  # "._a.jpg": attributes of a file that some systems keep beside it
            continue
        if members and (found != stem or suffix.lower() in suffixes or len(members) == MAX_MEMBERS):
            yield ForeignSample(stem, tuple(members))
            members, suffixes = [], set()
        stem = found
        members.append(member)
        suffixes.add(suffix.lower())
    if members:
        yield ForeignSample(stem, tuple(members))


def facts_of(data: bytes) -> dict[str, Any]:
    """Return the object in a JSON member; empty when it is none."""
    try:
        facts = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return facts if isinstance(facts, dict) else {}


def first_text(facts: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the first of the fields that holds text, and the text; blanks when none does."""
    for name in names:
        if isinstance(facts.get(name), str):
            return name, facts[name]
    return "", ""


def caption_in(data: bytes) -> str:
    """Return the caption that a JSON member holds; blank when it holds none."""
    return first_text(facts_of(data), CAPTION_FIELDS)[1]
