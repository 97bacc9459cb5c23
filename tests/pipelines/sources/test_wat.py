"""WAT files: the kernel gives what the definition gives, and that is what the records say."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import wat
from pipelines.sources.archive import Record, records
from pipelines.sources.json_kernels import PADDING_BYTES
from pipelines.sources.source import Fault, Links, Slice
from pipelines.sources.wat import Wat
from pipelines.sources.wat_images import ATTRIBUTES, Bodies, images, plain_images, record_images
from tests.pipelines.sources.warcs import gzipped, record
from tests.support import real_data

PAGE = "http://x.example/dir/page"
NEW_BUILD = "Software-Info: ia-web-commons.1.1.10-SNAPSHOT-20240513074037\r\n"


def rows(found: Iterable[Links | Fault]) -> list[Any]:
    """Every row with all that is known of it, and the faults between them."""
    flat: list[Any] = []
    for links in found:
        if isinstance(links, Fault):
            flat.append(links)
            continue
        assert len(links)
        assert links.url_has_references == links.text_has_references
        pages = list(zip(links.page_url.to_pylist(), links.base.to_pylist(), strict=True))
        columns = (links.url.to_pylist(), links.text.to_pylist(), links.offset.tolist(), links.attribute.tolist())
        for url, text, offset, attribute, page in zip(*columns, links.page.tolist(), strict=True):
            flat.append((url, text, *pages[page], offset, ATTRIBUTES[attribute], links.text_has_references))
        for column in (links.url, links.text, links.page_url, links.base):
            column.validate(full=True)
    return flat


def found_in(data: bytes, folder: Path) -> list[Any]:
    """What the source finds in a file."""
    path = folder / "x.warc.wat.gz"
    path.write_bytes(data)
    return rows(Wat().findings(Slice(str(path))))


def body(links: Any = (), head: Any = None, uri: str = PAGE) -> bytes:
    """The JSON of a page, in the order in which the extractor writes it."""
    page = {"Head": head or {}, "Links": list(links)}
    payload = {"Actual-Content-Type": "application/http", "HTTP-Response-Metadata": {"HTML-Metadata": page}}
    return orjson.dumps({"Envelope": {"Payload-Metadata": payload, "WARC-Header-Metadata": {"WARC-Target-URI": uri}}})


def archive(*bodies: bytes, info: str = "") -> bytes:
    """A WAT file, a gzip member a record."""
    first = record("warcinfo", "x", info.encode(), "application/warc-fields")
    return gzipped(first, *(record("metadata", PAGE, each, "application/json") for each in bodies))


def image(**fields: str) -> dict[str, str]:
    return {"path": "IMG@/src", "url": "a.jpg"} | fields


def joined(bodies: list[bytes]) -> Bodies:
    """Records as the kernel takes them; each at an offset of its own."""
    bounds = np.cumsum([0, *map(len, bodies)])
    return Bodies(b"".join(bodies) + bytes(PADDING_BYTES), bounds[:-1], bounds[1:], np.arange(len(bodies)) * 1000)


def by_kernel(bodies: list[bytes], has_references: bool = True) -> list[Any]:
    return rows(images(joined(bodies), has_references))


def by_definition(bodies: list[bytes], has_references: bool = True) -> list[Any]:
    found = (record_images(each, number * 1000, has_references) for number, each in enumerate(bodies))
    return [row for each in found for row in rows(each)]


texts = (
    st.sampled_from(["", " ", "A dog", "\t\n\x0b\x0c\r", "\xa0", "&amp;", "é😀", "\ud83d", "\ude00", "\x00", '"\\/'])
    | st.text()
)
NAMES = [
    "og:image",
    " OG:Image\n",
    "og:image:alt",
    "og:image:url",
    "og:image:secure_url",
    "twitter:image:src",
    "og:description",
    "twitter:image",
    "twitter:image:ALT",
    "",
    "HTML@/lang",
]
PATHS = ["IMG@/src", "A@/href", "IMG@/longdesc", ""]
names, paths = st.sampled_from(NAMES), st.sampled_from(PATHS)
links = st.lists(
    st.fixed_dictionaries({}, optional={"path": paths, "url": texts, "alt": texts, "title": texts, "text": texts})
)
metas = st.lists(st.fixed_dictionaries({}, optional={"property": names, "name": names, "content": texts}))
heads = st.fixed_dictionaries({}, optional={"Base": texts, "Metas": metas, "Title": texts, "Link": links})
pages = st.fixed_dictionaries({}, optional={"Head": heads, "Links": links, "Text": texts})
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Links", "Envelope", "url", "x"]), inner),
    max_leaves=8,
)
whole_records = st.fixed_dictionaries(
    {
        "Container": anything,
        "Envelope": st.fixed_dictionaries(
            {
                "Format": anything,
                "Payload-Metadata": st.fixed_dictionaries(
                    {"Headers": anything, "HTTP-Response-Metadata": st.fixed_dictionaries({"HTML-Metadata": pages})}
                ),
                "WARC-Header-Metadata": st.fixed_dictionaries({"WARC-Target-URI": texts | st.just(PAGE)}),
            }
        ),
    }
)


seeds = st.integers(0, 1 << 32)


def spelt(value: Any, draw: random.Random, oddity: float) -> Iterator[str]:
    """JSON of a value with white space, escapes and the order of keys at random; odd in some places.

    Odd: another type, a key twice, a key left out.
    """
    space = draw.choice(["", "", "", " ", "\r\n\t"])
    if draw.random() < oddity:
        value = draw.choice([None, 0, -1.5e30, True, [], {}, [[{}]], {"Links": 3}, "odd"])
    yield space
    if isinstance(value, dict):
        pairs = [
            pair for pair in value.items() for _ in range(2 if draw.random() < oddity else draw.random() >= oddity)
        ]
        draw.shuffle(pairs)
        yield "{"
        for number, (key, inner) in enumerate(pairs):
            yield f"{',' if number else ''}{space}{spelt_text(key, draw, oddity)}{space}:"
            yield from spelt(inner, draw, oddity)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from spelt(inner, draw, oddity)
        yield "]"
    else:
        yield (
            spelt_text(value, draw, 0 if value in (*NAMES, *PATHS) else 0.1)
            if isinstance(value, str)
            else json.dumps(value)
        )
    yield space


def spelt_text(text: str, draw: random.Random, escapes: float) -> str:
    """A JSON string: each character as it is, unless it must be escaped, or escaped in one of two ways."""
    written = []
    for char in text:
        plain = char not in '"\\' and not "\ud800" <= char <= "\udfff"
        if char == "/" and draw.random() < 0.3:
            written.append("\\/")
        elif plain and draw.random() >= escapes:
            written.append(char)  # control characters, too: not JSON, but extractors wrote them
        elif char in '"\\' and draw.random() < 0.5:
            written.append(f"\\{char}")
        else:
            units = char.encode("utf-16-be", "surrogatepass").hex()
            written += [f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)]
    return f'"{"".join(written)}"'


@settings(max_examples=300, deadline=None)
@given(st.lists(whole_records, max_size=4), seeds, st.booleans())
def test_the_kernel_equals_the_definition_on_records(whole: list[Any], seed: int, references: bool) -> None:
    """Any order, white space, escapes and values: the same rows, and no record is left to the library."""
    draw = random.Random(seed)
    bodies = ["".join(spelt(each, draw, 0)).encode() for each in whole]
    if bodies:
        assert plain_images(joined(bodies), references)[2].all()
    assert by_kernel(bodies, references) == by_definition(bodies, references)


@settings(max_examples=300, deadline=None)
@given(st.lists(whole_records, min_size=1, max_size=4), seeds, st.sampled_from([0, 0.02, 0.2]))
def test_the_kernel_equals_the_definition_on_odd_records(whole: list[Any], seed: int, oddity: float) -> None:
    """Other types, keys twice, keys escaped or left out, bytes changed or cut: the same rows and faults."""
    draw, bodies = random.Random(seed), []
    for each in whole:
        data = bytearray("".join(spelt(each, draw, oddity)).encode())
        for _ in range(draw.choice([0, 0, 1, 3])):
            start = draw.randrange(len(data) + 1)
            data[start : start + draw.choice([0, 1, 1, 5])] = draw.choice(
                [
                    b"",
                    b'"',
                    b"\\",
                    b"{",
                    b"}",
                    b"]",
                    b",",
                    b"0",
                    b"\xff",
                    b"\xe2\x82",
                    b"\xed\xa0\x80",
                    b"\x00",
                    b"\\u12",
                ]
            )
        bodies.append(bytes(data[: draw.choice([None, None, len(data) // 2])]))
    assert by_kernel(bodies) == by_definition(bodies)


NUMBERS = [
    "0",
    "-0",
    "01",
    "-",
    "1.",
    ".5",
    "1e5",
    "1E+05",
    "1e",
    "1.5e-3",
    "+1",
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
]
WORDS = [
    "true",
    "truth",
    "nul",
    "null",
    "fals",
    "false",
    "True",
    "undefined",
    "'a'",
    "",
    "1 2",
    "[1,]",
    '{"a":1,}',
    "{,}",
]
STRINGS = [
    '"\\u00e"',
    '"\\x41"',
    '"\\u00E9\\u00e9"',
    '"\\ud83d\\ude00\\ude00"',
    '"\\',
    '"',
    '"a" "b"',
    '"\\ud83dx\\u0041"',
]


@pytest.mark.parametrize("value", NUMBERS + WORDS + STRINGS)
def test_the_grammar_of_values_is_that_of_the_library(value: str) -> None:
    """A record with a value of no grammar is a fault; with one that the library takes, it is not."""
    odd = body([image(alt="VALUE")]).replace(b'"VALUE"', b'"A dog","x":' + value.encode())
    bodies = [body([image(alt="before")]), odd, body([image(alt="after")])]
    assert by_kernel(bodies) == by_definition(bodies)
    odd = odd.replace(b'"A dog","x":', b"")
    assert by_kernel([odd]) == by_definition([odd])


def test_real_records_are_plain_and_give_what_the_definition_gives() -> None:
    """Common Crawl's file of 2015: 108 IMG@/src links, 88 with an alt that says something, 18 with a blank one."""
    file = str(real_data("webarchive", "commoncrawl-wat-webindex", "wat-18.warc"))
    bodies = [each.body for each in records(file, ("metadata",), 1 << 20) if isinstance(each, Record) and each.body]
    assert len(bodies) == 17
    assert plain_images(joined(bodies), True)[2].all()
    found = by_kernel(bodies)
    assert found == by_definition(bodies)
    assert len(found) == 106
    assert sum(bool(text.strip()) for _, text, *_ in found) == 88
    assert {attribute for *_, attribute, _ in found} == {"img@alt"}


def test_values_of_old_files_have_references(tmp_path: Path) -> None:
    """Before June 2019 the extractor left &amp; as pages write it; the links say so, and <base> is decoded."""
    one = body([image(url="a.php?x=1&amp;y=2", alt="Tom &amp; Jerry")], {"Base": "/b/?q=1&amp;r"})
    for info, base, is_left in (
        ("", "http://x.example/b/?q=1&r", True),
        (NEW_BUILD, "http://x.example/b/?q=1&amp;r", False),
    ):
        found = found_in(archive(one, info=info), tmp_path)
        assert [(row[:2], row[3], row[6]) for row in found] == [
            (("a.php?x=1&amp;y=2", "Tom &amp; Jerry"), base, is_left)
        ]


def test_an_image_has_its_alt_or_title(tmp_path: Path) -> None:
    """title stands in for an alt that is blank or not there; an image with neither, or no address, is no candidate."""
    tags = [
        image(alt="A dog", title="T"), image(alt=" \n", title="T"), image(title="T"), image(alt=""),
        image(alt="", title=" "), image(), image(url="", alt="A dog"), {"path": "A@/href", "url": "b", "alt": "A dog"},
    ]  # fmt: skip
    found = found_in(archive(body(tags)), tmp_path)
    assert [(text, attribute) for _, text, _, _, _, attribute, _ in found] == [
        ("A dog", "img@alt"), ("T", "img@title"), ("T", "img@title"), ("", "img@alt"), ("", "img@alt"),
    ]  # fmt: skip


def test_previews_have_their_alt_or_the_description(tmp_path: Path) -> None:
    """og:image takes og:image:alt, the first one the description; twitter:image its own alt; none without a text."""
    said = [
        ("property", "og:description", "A page of dogs"), ("property", "og:image", "1.jpg"),
        ("property", "og:image:secure_url", "again.jpg"),
        ("property", "og:image", "2.jpg"), ("property", "og:image:alt", "A second dog"), ("name", "og:image", "3.jpg"),
        ("name", "Twitter:Image", "4.jpg"), ("name", "twitter:image:alt", "A bird"), ("property", "og:image:alt", "no"),
        ("name", "twitter:image", " "), ("name", "twitter:image:alt", "no address"),
    ]  # fmt: skip
    head = {"Metas": [{kind: name, "content": content} for kind, name, content in said]}
    found = found_in(archive(body([image(alt="A dog")], head)), tmp_path)
    assert [(url, text, attribute) for url, text, _, _, _, attribute, _ in found] == [
        ("1.jpg", "A page of dogs", "og:image"),
        ("2.jpg", "A second dog", "og:image"),
        ("4.jpg", "A bird", "twitter:image"),
        ("a.jpg", "A dog", "img@alt"),
    ]


@pytest.mark.parametrize("batch_bytes", [1, 300, 8 << 20])
def test_faults_stand_where_the_record_stood(batch_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed record is one fault at its offset; the records around it are read, whatever lies in a batch."""
    monkeypatch.setattr(wat, "_BATCH_BYTES", batch_bytes)
    good, bad = body([image(alt="A dog")]), body([image(alt="A dog")])[:-1]
    surrogate, request = good.replace(b"A dog", b"A \\ud83d"), b'{"Envelope": {"Payload-Metadata": {}}} '
    bodies = [good, bad, request, surrogate, bad, bad, good]
    data = archive(*bodies)
    starts = [len(archive(*bodies[:number])) for number in range(len(bodies))]
    found = found_in(data, tmp_path)
    assert [each.reason if isinstance(each, Fault) else each[1] for each in found] == [
        "A dog", "malformed_record", "A ?", "malformed_record", "malformed_record", "A dog",
    ]  # fmt: skip
    offsets = [each.offset if isinstance(each, Fault) else each[4] for each in found]
    assert offsets == [starts[number] for number in (0, 1, 3, 4, 5, 6)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_usual_archives_are_read_as_all_others(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Gzip members of one plain record each, which are read fast, give what the reader of all archives gives.

    Whatever is odd: members of two records, other lines in headers, rubbish between records. In a damaged file, at
    least the records that the other reader gives, which may give up the one before the damage.
    """
    draw = random.Random(data.draw(seeds))
    lines = [
        b"",
        b"",
        b"warc-type: x\r\n",
        b"Content-Length: 5\r\n",
        b" folded\r\n",
        b"X:\r\n",
        b"content-length: 9\r\n",
    ]
    parts = []
    for number in range(draw.randrange(1, 6)):
        one = record(
            draw.choice(["metadata", "metadata", "warcinfo", "Metadata", "x"]), PAGE, body([image(alt=str(number))])
        )
        one = one.replace(b"Content-Type", draw.choice(lines) + b"Content-Type")
        parts.append(one[: draw.choice([None] * 9 + [-1])] + draw.choice([b""] * 9 + [b"\r\n", b"\x00", b"rest"]))
    members = gzipped(*parts) if draw.random() < 0.8 else gzipped(parts[0] + b"".join(parts[1:2]), *parts[2:])
    is_damaged = draw.random() < 0.3
    if is_damaged:
        start, more = draw.randrange(len(members)), draw.choice([b"", b"\x00", b"\x1f\x8b\x08\x00"])
        members = members[:start] + more + members[start + draw.randrange(3) :]
    file = tmp_path_factory.mktemp("wat") / "x.warc.wat.gz"
    file.write_bytes(members)
    found = rows(Wat().findings(Slice(str(file))))
    others = rows(wat._careful(records(str(file), ("metadata", "warcinfo"), 64 << 20), True))
    if not is_damaged:
        assert found == others
    assert [row for row in others if not isinstance(row, Fault) and row not in found] == []
    assert any(isinstance(row, Fault) for row in found) == any(isinstance(row, Fault) for row in others)


HOSTILE = {
    "cut": b'{"Envelope": {"Payl',
    "a list": b'["HTML-Metadata"]',
    "no envelope": b'{"HTML-Metadata": {}}',
    "no payload": b'{"Envelope": {"x": "HTML-Metadata"}}',
    "no JSON": b"HTML",
    "nothing": b"",
    "nested deep": body().replace(b'"Links":[]', b'"x":' + b"[" * 100_000 + b"]" * 100_000),
    "never closed": b'{"HTML-Metadata":' * 100_000,
    "a string without end": body()[:-5] + b'"' + b"\\\\" * 100_000,
    "no address of the page": body([image(alt="A dog")]).replace(b"Target", b"Other"),
    "a page whose address is no string": body([image(alt="A dog")]).replace(f'"{PAGE}"'.encode(), b"null"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_record_costs_itself_only(hostile: str, tmp_path: Path) -> None:
    """JSON that is cut, foreign, or nested without end is one fault, and the record after it is read."""
    found = found_in(archive(HOSTILE[hostile], body([image(alt="A dog")])), tmp_path)
    assert [type(each) for each in found] == [Fault, tuple]
    assert found[0].reason == "malformed_record"
    assert len(found[0].detail) <= 200


def test_texts_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    """Bytes of no character, and half surrogate pairs, are replaced; NUL and a caption of 10 MB pass."""
    tags = [image(alt="Caf#"), image(alt="~"), image(alt="\0"), image(alt="dog " * 2_500_000)]
    data = body(tags).replace(b"#", b"\xe9").replace(b"~", b"~\\ud83d\\ude00\\ude00")
    texts = [text for _, text, *_ in found_in(archive(data), tmp_path)]
    assert texts == ["Caf\ufffd", "~😀?", "\0", "dog " * 2_500_000]
