"""What every source must do with every format it reads. A new one is an empty subclass that names its format."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from pipelines.sources.links import fold_space, resolve, why_not_fetchable
from pipelines.sources.occurrences import Settings, occurrences
from pipelines.sources.source import FLUSH_ROWS, MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from tests.conformance.formats import COMPRESSED_NOTHING, Format, Pair
from tests.pipelines.sources.listing import Found, listed
from wit.errors import InputError
from wit.keys import sample_key

TRUTH = [
    Pair("http://x.example/a.jpg", "A dog", "http://x.example/1"),
    Pair("/b.jpg?x=1&y=2", "A \"red\" dog, 'big'\nin rain", "http://x.example/1"),
    Pair("https://ü.example/é.jpg", "Çà & là <b>", "http://x.example/2?q=%20"),
    Pair("c d.jpg", "A cat", "http://x.example/3"),
    Pair("//y.example/e.png", "Ein Hund", "http://x.example/4"),
]
BLANK = Pair("http://x.example/blank.jpg", "", "http://x.example/5")
HOSTILE = [
    'quote " and \'\' and "" doubled"',
    '"',
    '"unclosed, with a comma',
    "comma, semicolon; tab\t pipe| back\\slash \\n \\",
    "line\nfeed\r\nreturn\rend",
    "control \x01\x02\x1b[31m\x7f\x85 end",
    "bidi \u202e\u2066gpj.exe\u2069 mark \u200f soft\u00ad \ufeff",
    "separators \u2028\u2029\u00a0\u3000 end",
    "astral 😀 \U0010fffd, combining e\u0301, private \ue000, none \ufffe\uffff",
    "<img src=x alt='y'> <!-- --> ]]> <script>",
    "&amp; &#39; &copy=2 &unknown; &",
    '{"url": "x"} [1] null, \'true\'',
    "=cmd|' /C calc'!A0",
    "../../etc/passwd %00 %s {0} ${x}",
    "é" * 40_000,
    "a" * 2_000_000,
]


class SourceSuite:
    """Subclasses set `format`."""

    format: ClassVar[Format]

    def found(self, folder: Path, data: bytes) -> list[Found | Fault]:
        path = folder / self.format.file_name
        path.write_bytes(data)
        return listed(self.format.source, str(path))

    def found_if_taken(self, folder: Path, data: bytes) -> list[Found | Fault]:
        """What is found; one fault where the file is refused as a whole, in one line."""
        try:
            return self.found(folder, data)
        except InputError as error:
            detail = str(error)
        assert detail.count("\n") == 0
        return [Fault(UNREADABLE_ARCHIVE, detail, None)]

    def expected(self, pairs: Sequence[Pair], offsets: Sequence[int]) -> list[Found]:
        return [
            Found(
                pair.url,
                fold_space(pair.caption),
                offset,
                self.format.attribute,
                pair.page_url if self.format.has_pages else None,
                pair.page_url if self.format.has_pages else None,
            )
            for pair, offset in zip(pairs, offsets, strict=True)
        ]

    def test_the_truth_with_its_provenance(self, tmp_path: Path) -> None:
        """URLs as written, captions with their references decoded, in order; page, offset and attribute of each."""
        written = self.format.write(TRUTH, None)
        assert folded(self.found(tmp_path, written.data)) == self.expected(TRUTH, written.offsets)

    def test_its_candidates_are_those_of_every_format(self, tmp_path: Path) -> None:
        """The same keys from each: addresses resolved, captions folded; what the format cannot resolve is rejected."""
        path = tmp_path / self.format.file_name
        path.write_bytes(self.format.write(TRUTH, None).data)
        kept: list[str] = []
        for piece in self.format.source.slices(str(path)):
            for finding in self.format.source.findings(piece):
                assert not isinstance(finding, Fault)
                kept += occurrences(finding, path.name, Settings(4, "salt", "extract"))[0].column("key").to_pylist()
        pages = [pair.page_url if self.format.has_pages else "" for pair in TRUTH]
        urls = [resolve(pair.url, page) for pair, page in zip(TRUTH, pages, strict=True)]
        keys = [sample_key(url, fold_space(pair.caption)) for url, pair in zip(urls, TRUTH, strict=True)]
        assert kept == [key for key, url in zip(keys, urls, strict=True) if why_not_fetchable(url) is None]
        assert len(kept) >= 2

    def test_a_blank_caption_is_found(self, tmp_path: Path) -> None:
        """It is counted later, among the rejects, not left out here."""
        written = self.format.write([BLANK], None)
        assert folded(self.found(tmp_path, written.data)) == self.expected([BLANK], written.offsets)

    def test_hostile_strings_survive(self, tmp_path: Path) -> None:
        """Quotes, controls, markup, bidirectional marks, and captions of megabytes, with their neighbours."""
        nul = ["nul \0 inside"] if self.format.holds_nul else []
        pairs = [
            Pair(f"http://x.example/{n}.jpg", text, "http://x.example/p")
            for n, text in enumerate([*HOSTILE, *nul, "Z"])
        ]
        written = self.format.write(pairs, None)
        found = folded(self.found(tmp_path, written.data))
        for each, expected in zip(found, self.expected(pairs, written.offsets), strict=True):
            assert each == expected

    @pytest.mark.parametrize("broken", [0, 2, 4])
    def test_a_broken_record_costs_itself(self, broken: int, tmp_path: Path) -> None:
        """The others are found, and one fault says where it was."""
        pairs = [pair._replace(page_url=f"http://x.example/p{n}") for n, pair in enumerate(TRUTH)]
        written = self.format.write(pairs, broken)
        found = self.found(tmp_path, written.data)
        expected = self.expected(pairs, written.offsets)
        assert links(found) == expected[:broken] + expected[broken + 1 :]
        assert [(fault.reason, fault.offset) for fault in faults(found)] == [
            (MALFORMED_RECORD, written.offsets[broken])
        ]

    def test_a_file_that_breaks_off(self, tmp_path: Path) -> None:
        """Wherever: what is found is the beginning of the truth, the last caption perhaps cut; the loss is told of."""
        pairs = many(60)
        written = self.format.write(pairs, None)
        expected = [each._replace(page_url=None, base=None) for each in self.expected(pairs, written.offsets)]
        size = len(written.data)
        for cut in [*range(1, size, size // 23), size - 1]:
            found = self.found_if_taken(tmp_path, written.data[:cut])
            here = [each._replace(page_url=None, base=None) for each in links(found)]
            assert here[:-1] == expected[: max(len(here) - 1, 0)], cut
            at_an_end = min(abs(cut - offset) for offset in written.offsets) <= 4  # all there, or but for a line's end
            if self.format.tells_truncation and not at_an_end:
                assert here == expected[: len(here)], cut
                assert faults(found) or len(here) == len(expected), cut

    def test_bytes_that_flip(self, tmp_path: Path) -> None:
        """Damage anywhere is a fault, another text, or one clear error; never an exception of another kind."""
        written = self.format.write(many(40), None)
        generator = random.Random(7)
        for _ in range(40):
            data = bytearray(written.data)
            for _ in range(generator.randint(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            assert len(self.found_if_taken(tmp_path, bytes(data))) < 1000

    @pytest.mark.parametrize(
        "data", [b"\0" * 5000, b"\xff" * 5000, bytes(range(128, 256)) * 40, b"\n" * 5000, b'"' * 5000]
    )
    def test_a_file_of_another_kind(self, data: bytes, tmp_path: Path) -> None:
        """One clear error, or faults; nothing is found."""
        assert not links(self.found_if_taken(tmp_path, data))

    def test_no_bytes_and_no_records(self, tmp_path: Path) -> None:
        """A file without pairs gives nothing, and no fault; nor does one of no bytes. What only unpacks to none may."""
        assert self.found(tmp_path, self.format.write([], None).data) == []
        if self.format.refuses_empty:
            assert faults(self.found_if_taken(tmp_path, b""))
            return
        assert self.found(tmp_path, b"") == []
        nothing = COMPRESSED_NOTHING.get(self.format.file_name.rpartition(".")[2])
        if nothing:
            assert not links(self.found(tmp_path, nothing))

    def test_a_remote_file_gives_the_same(self, tmp_path: Path) -> None:
        """Through fsspec, here from memory."""
        data = self.format.write(many(50), None).data
        remote = f"memory://sources/{self.format.file_name}"
        with fsspec.open(remote, "wb") as file:
            file.write(data)
        assert listed(self.format.source, remote) == self.found(tmp_path, data)
        with pytest.raises(InputError, match="expected a file here"):
            listed(self.format.source, f"memory://sources/none/{self.format.file_name}")

    def test_twice_the_same(self, tmp_path: Path) -> None:
        """More pairs than one batch holds: all of them, in order, and the same again."""
        pairs = many(FLUSH_ROWS + 500)
        written = self.format.write(pairs, 7)
        found = self.found(tmp_path, written.data)
        assert found == self.found(tmp_path, written.data)
        expected = {pair.url for pair in pairs} - {each.url for each in links(found)}
        assert [each.url for each in links(found)] == [pair.url for pair in pairs if pair.url not in expected]
        assert len(faults(found)) == 1
        assert pairs[7].url in expected
        assert len(expected) <= 10


class GzipMemberSuite(SourceSuite):
    """For formats that have a gzip member for each record."""

    def test_a_broken_gzip_member_costs_itself(self, tmp_path: Path) -> None:
        """The records before and behind a broken one are found, and one fault says where it was."""
        pairs = many(50)
        written = self.format.write(pairs, None)
        data = bytearray(written.data)
        for at in range(written.offsets[20] + 30, written.offsets[20] + 60):
            data[at] ^= 0xFF
        found = self.found(tmp_path, bytes(data))
        expected = self.expected(pairs, written.offsets)
        assert links(found) == expected[:20] + expected[30:]
        assert [(fault.reason, fault.offset) for fault in faults(found)] == [(MALFORMED_RECORD, written.offsets[20])]


def many(number: int) -> list[Pair]:
    """Pairs, ten on a page."""
    return [
        Pair(f"http://x.example/{n * 7919}.jpg", f"Dog number {n * 104729}", f"http://x.example/p{n // 10}")
        for n in range(number)
    ]


def folded(found: list[Found | Fault]) -> list[Found | Fault]:
    """The same with white space as candidates have it."""
    return [each if isinstance(each, Fault) else each._replace(text=fold_space(each.text)) for each in found]


def links(found: list[Found | Fault]) -> list[Found]:
    return [each for each in folded(found) if isinstance(each, Found)]


def faults(found: list[Found | Fault]) -> list[Fault]:
    assert all(each.reason in (MALFORMED_RECORD, UNREADABLE_ARCHIVE) for each in found if isinstance(each, Fault))
    return [each for each in found if isinstance(each, Fault)]
