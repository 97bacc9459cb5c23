"""The miniature web as a server holds it: one row for each URL, and the bodies in one file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wit.sample.drafting import BLANK_PICTURE, BLANK_URL
from wit.sample.encoding import encode
from wit.sample.hosts import HOSTS, robots_txt
from wit.sample.model import Block, Response
from wit.sample.pages import Rendered
from wit.storage import ROW_GROUP_ROWS, Draft, join

RESPONSES = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("status", pa.int32(), nullable=False),
        pa.field(
            "headers",
            pa.list_(
                pa.struct(
                    [pa.field("name", pa.string(), nullable=False), pa.field("value", pa.string(), nullable=False)]
                )
            ),
            nullable=False,
        ),
        pa.field("behaviour", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)
"""What each URL answers; offset and length say where in bodies.bin its body lies, in bytes."""


@dataclass(frozen=True)
class Answer:
    """A response with its body drawn."""

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    behaviour: str
    body: bytes


def answer(url: str, response: Response) -> Answer:
    """Return a response with its body."""
    body = encode(response.picture) if response.picture else response.text
    return Answer(url, response.status, response.headers, response.behaviour, body)


def page_answer(url: str, rendered: Rendered) -> Answer:
    """Return the response of a page."""
    return Answer(url, 200, (("Content-Type", rendered.media_type),), "normal", rendered.body)


def common_answers() -> list[Answer]:
    """Return what does not depend on the plan: robots.txt, and the blank picture of every host."""
    answers = [
        Answer(f"http://{host}/robots.txt", 200, (("Content-Type", "text/plain"),), "normal", text.encode())
        for host, text in robots_txt().items()
    ]
    blank = encode(BLANK_PICTURE)
    return answers + [
        Answer(BLANK_URL.format(host=host), 200, (("Content-Type", "image/gif"),), "normal", blank) for host in HOSTS
    ]


def block_answers(block: Block, rendered: Iterable[Rendered]) -> list[Answer]:
    """Return the answers of a block's pages and pictures, the common ones left out."""
    pages = [page_answer(page.url, each) for page, each in zip(block.pages, rendered, strict=True)]
    return pages + [answer(url, response) for url, response in block.responses.items()]


class WebWriter:
    """Writes web/responses.parquet and web/bodies.bin, a batch of answers at a time."""

    def __init__(self, folder: str) -> None:
        self._bodies = Draft(join(folder, "bodies.bin"))
        self._rows = Draft(join(folder, "responses.parquet"))
        self._writer = pq.ParquetWriter(self._rows.file, RESPONSES, compression="zstd")
        self._offset = 0
        self._waiting: list[dict[str, Any]] = []

    def __enter__(self) -> WebWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            self._writer.close()
            self._bodies.publish()
            self._rows.publish()
        else:
            self._writer.close()
            self._bodies.discard()
            self._rows.discard()

    def add(self, answers: Iterable[Answer]) -> None:
        """Append answers."""
        for each in answers:
            self._bodies.file.write(each.body)
            headers = [{"name": name, "value": value} for name, value in each.headers]
            self._waiting.append(
                {"url": each.url, "status": each.status, "headers": headers, "behaviour": each.behaviour}
                | {"offset": self._offset, "length": len(each.body)}
            )
            self._offset += len(each.body)
        if len(self._waiting) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=RESPONSES))
            self._waiting = []
