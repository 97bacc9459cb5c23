"""What a sample of a tar made by anyone says of itself, as a row of its index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from pipelines.sources.shards import urls_beside
from wit import tar
from wit.fingerprint import fingerprint
from wit.foreign import (
    CAPTION_FIELDS,
    MAX_TEXT_BYTES,
    TEXT_SUFFIXES,
    URL_FIELDS,
    ForeignSample,
    facts_of,
    first_text,
    read_tar,
)
from wit.image import ImageRejected, inspect
from wit.image_checks import plain_size
from wit.storage import base_name

MAX_KEY_BYTES = 255

_INT32, _INT64 = 1 << 31, 1 << 63
_BLANK = {
    "text_offset": 0, "text_length": 0, "json_offset": 0, "json_length": 0,
    "width": 0, "height": 0, "caption": "", "url": "", "page_url": None, "attribute": "", "query_ids": [],
}  # fmt: skip

Row = dict[str, Any]
"""A row of wit.schema.FOREIGN_INDEX."""


class ForeignRows:
    """Makes rows of the samples of one tar, in its order. Memory: the stems, and the table beside the tar, if any."""

    def __init__(self, file: IO[bytes], url: str, tar_url: str, *, with_prints: bool = False) -> None:
        """`file` is the tar at `url`; `tar_url` is where it really lies, with what img2dataset put beside it.

        `with_prints`: rows have the prints of their images, but for those that cannot be decoded.
        """
        self._with_prints = with_prints
        self._file, self._url = file, url
        self._urls = urls_beside(tar_url)
        self._keys = _Keys()
        self.left_out = 0
        """Samples without an image, or with an empty one, or one of more than MAX_IMAGE_BYTES."""
        self.unreadable = 0
        """Samples whose image has no header that can be read: width and height are 0."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the row of each sample; raises InputError where the tar is broken."""
        for sample in read_tar(self._file, self._url):
            image = sample.indexed_image()
            if image is None:
                self.left_out += 1
            else:
                yield self._row(sample, image)

    def _row(self, sample: ForeignSample, image: tar.Member) -> Row:
        json, data = self._text_member(sample, ("json",))
        facts = facts_of(data)
        body = tar.read_member(self._file, image, self._url)
        width, height = self._size(body)
        row = _BLANK | {
            "key": self._keys.of(sample.stem),
            "shard": base_name(self._url),
            "image_member": image.name,
            "image_offset": image.offset,
            "image_length": image.length,
            "sha256": hashlib.sha256(body).hexdigest(),
            "width": width,
            "height": height,
            "url": first_text(facts, URL_FIELDS)[1] or self._urls.get(sample.stem.rpartition("/")[2], ""),
            "archive": base_name(self._url),
            "record_offset": image.offset - tar.BLOCK,
            "sample_offset": sample.start,
            "sample_length": sample.stop - sample.start,
        }
        if self._with_prints:
            row |= _print(body)
        if json:
            row |= {"json_offset": json.offset, "json_length": json.length}
        return row | self._caption(sample, facts, json) | _own(facts)

    def _text_member(self, sample: ForeignSample, suffixes: tuple[str, ...]) -> tuple[tar.Member | None, bytes]:
        """Return the first member with one of the suffixes, and its bytes; none when it is too long to be a text."""
        for suffix in suffixes:
            member = sample.find(suffix)
            if member and member.length <= MAX_TEXT_BYTES:
                return member, tar.read_member(self._file, member, self._url)
        return None, b""

    def _caption(self, sample: ForeignSample, facts: Mapping[str, Any], json: tar.Member | None) -> Row:
        """Return the caption and where it is: a member of its own, or else a field of the JSON member."""
        member, data = self._text_member(sample, TEXT_SUFFIXES)
        name, caption = first_text(facts, CAPTION_FIELDS)
        if member:
            attribute, caption = member.name.rpartition(".")[2].lower(), data.decode("utf-8", "replace")
        elif json and name:
            member, attribute = json, f"json@{name}"
        else:
            return {}
        place = {"text_offset": member.offset, "text_length": member.length}
        return {"caption": caption, "attribute": attribute, **place}

    def _size(self, body: bytes) -> tuple[int, int]:
        plain = plain_size(body)
        if plain:
            return plain.width, plain.height
        try:
            header = inspect(body)
        except ImageRejected:
            self.unreadable += 1
            return 0, 0
        return header.width, header.height


def _print(body: bytes) -> Row:
    try:
        columns = fingerprint(body).columns()
    except ImageRejected:
        return {}
    return {name: column[0].as_py() for name, column in columns.items()}


class _Keys:
    """Keys of the samples of a tar, each once."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def of(self, stem: str) -> str:
        """Return the key of the next sample: its stem, and behind it a number when the stem was there before."""
        if len(stem.encode()) > MAX_KEY_BYTES:
            stem = hashlib.sha256(stem.encode()).hexdigest()
        key, times = stem, self._times.get(stem, 0)
        while key in self._times:
            times += 1
            key = f"{stem}#{times + 1}"
        self._times[stem] = times
        self._times.setdefault(key, 0)
        return key


def _own(facts: Mapping[str, Any]) -> Row:
    """Return what the JSON of a shard of ours says beside URL and caption, where it is what it should be."""
    found: Row = {}
    for name in ("page_url", "archive", "attribute"):
        if isinstance(facts.get(name), str):
            found[name] = facts[name]
    if "record_offset" not in facts:  # not ours
        return {"page_url": found["page_url"]} if "page_url" in found else {}
    if _is_int(facts["record_offset"], _INT64):
        found["record_offset"] = facts["record_offset"]
    ids = facts.get("query_ids")
    if isinstance(ids, list) and all(_is_int(each, _INT32) for each in ids):
        found["query_ids"] = ids
    return found


def _is_int(value: Any, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
