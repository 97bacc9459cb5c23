"""The miniature encyclopedia: its formats are the real ones, its answer is right, its traps are set."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from wit.sample.encyclopedia import MIN_VIEWS, count_words, write_encyclopedia
from wit.sample.lexicon import COLOURS, COUNTS, NONSENSE, PLACES, POSITIONS, SHAPES, TEXTURES
from wit.sample.prose import CANARIES, PLANTED_BIGRAMS, PLANTED_WORDS, Article, Line, write_prose
from wit.sample.titles import PLANTED_VIEWS
from wit.sample.vocabulary import plural
from wit.sample.wiki import DUMP, INDEX
from wit.schema import QUERIES, conform
from wit.storage import read_parquet
from wit.text import normalise

NS = "{http://www.mediawiki.org/xml/export-0.11/}"
ORDINARY = (
    "a the of on in and with background picture photo drawing shows beside above below near large small digit number"
)
FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encyclopedia")
    write_encyclopedia(str(folder), seed=1)
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_parquet(str(folder / "queries_truth.parquet")).to_pylist()
    return rows


@pytest.fixture(scope="module")
def pages(folder: Path) -> list[ElementTree.Element]:
    return ElementTree.fromstring(bz2.decompress((folder / "wiki" / DUMP).read_bytes())).findall(f"{NS}page")


def of_source(truth: list[dict[str, Any]], source: str) -> list[str]:
    return [row["term"] for row in truth if source in row["sources"]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Every file is a function of the seed alone."""
    write_encyclopedia(str(tmp_path / "again"), seed=1)
    write_encyclopedia(str(tmp_path / "other"), seed=2)
    assert contents(tmp_path / "again") == contents(folder)
    assert contents(tmp_path / "other").keys() == contents(folder).keys()
    assert all(contents(tmp_path / "other")[name] != data for name, data in contents(folder).items())


def test_terms_are_returned_in_the_order_of_the_list(tmp_path: Path) -> None:
    """What is returned is the column of the truth, which has the schema of the real list."""
    terms = write_encyclopedia(str(tmp_path), seed=3)
    table = read_parquet(str(tmp_path / "queries_truth.parquet"))
    assert conform(table, QUERIES)["term"].to_pylist() == terms
    assert all(normalise(term) == term for term in terms)
    assert len(set(terms)) == len(terms)


def test_every_line_of_the_index_leads_to_its_page(folder: Path) -> None:
    """The stream at an index line's offset decompresses alone and holds the page; no stream holds over 100."""
    dump = (folder / "wiki" / DUMP).read_bytes()
    lines = bz2.decompress((folder / "wiki" / INDEX).read_bytes()).decode().splitlines()
    entries = [line.split(":", 2) for line in lines]
    for offset in {int(entry[0]) for entry in entries}:
        stream = bz2.BZ2Decompressor().decompress(dump[offset:]).decode()
        here = [(page_id, title) for at, page_id, title in entries if int(at) == offset]
        found = re.findall(r"<page>\n    <title>(.*)</title>\n    <ns>\d+</ns>\n    <id>(\d+)</id>", stream)
        assert [(page_id, title) for title, page_id in found] == here
        assert len(here) <= 100
    assert int(entries[-1][1]) > int(entries[0][1]) + 300


def test_the_first_stream_is_the_header_and_the_last_the_footer(folder: Path) -> None:
    """The outer streams hold no page, so that any stream between them can be read alone."""
    dump = (folder / "wiki" / DUMP).read_bytes()
    streams = []
    while dump:
        decompressor = bz2.BZ2Decompressor()
        streams.append(decompressor.decompress(dump).decode())
        dump = decompressor.unused_data
    assert streams[0].startswith("<mediawiki")
    assert streams[0].endswith("</siteinfo>\n")
    assert streams[-1] == "</mediawiki>\n"
    assert all("<page>" in stream for stream in streams[1:-1])


def test_the_dump_has_all_kinds_of_pages_with_true_checksums(pages: list[ElementTree.Element]) -> None:
    """Articles, redirects, other namespaces, a deleted text; bytes and base-36 SHA-1 are those of the text."""
    assert {page.findtext(f"{NS}ns") for page in pages} >= {"0", "1", "2", "4", "6", "10", "14"}
    assert sum(page.find(f"{NS}redirect") is not None for page in pages) >= 10
    texts = [page.find(f"{NS}revision/{NS}text") for page in pages]
    assert sum(text is not None and text.get("deleted") == "deleted" for text in texts) == 1
    for text in texts:
        assert text is not None
        data = (text.text or "").encode()
        assert int(text.attrib["bytes"]) == len(data)
        if data:
            assert int(text.attrib["sha1"], 36) == int(hashlib.sha1(data, usedforsecurity=False).hexdigest(), 16)
            assert len(text.attrib["sha1"]) == 31


def test_planted_counts_are_exact_for_any_seed() -> None:
    """Words and bigrams planted on either side of a threshold occur as often as they should, whatever the seed."""
    for seed in (0, 1, 99):
        words, bigrams = count_words(write_prose(seed))
        assert {word: words[word] for word in PLANTED_WORDS} == PLANTED_WORDS
        for planted in PLANTED_BIGRAMS:
            assert bigrams[planted.first, planted.second] == planted.together
            assert words[planted.first] == planted.together + planted.first_alone
            assert words[planted.second] == planted.together + planted.second_alone


def test_a_bigram_is_counted_within_a_line_and_not_across_a_possessive() -> None:
    """Lines part words, and so does "'s", which is no word itself."""
    article = Article("t", (Line("paragraph", "hot air hot"), Line("item", "Air's balloon, hot-air")))
    words, bigrams = count_words([article])
    assert words == {"hot": 3, "air": 3, "balloon": 1}
    assert bigrams == {("hot", "air"): 2, ("air", "hot"): 1, ("balloon", "hot"): 1}


def test_caption_words_are_queries_for_any_seed() -> None:
    """Every word that a caption of the miniature web is made of occurs well over 100 times."""
    wanted = {*COLOURS, *SHAPES, *map(plural, SHAPES), *COUNTS, *TEXTURES, *POSITIONS, *ORDINARY.split()}
    for seed in (0, 1, 99):
        words, _ = count_words(write_prose(seed))
        assert min(words[word] for word in wanted) >= 120


def test_the_prose_has_a_long_tail() -> None:
    """Most distinct words stay below the threshold, as in any text."""
    words, _ = count_words(write_prose(1))
    assert len(words) > 1500
    assert sum(count < 100 for count in words.values()) > 0.85 * len(words)
    assert 50_000 < words.total() < 100_000


def test_thresholds_cut_between_the_planted_terms(truth: list[dict[str, Any]]) -> None:
    """100 is in and 99 out, for words; 20 in and 19 out, for bigrams; frequent but unrelated words are no bigram."""
    words, bigrams = of_source(truth, "word"), of_source(truth, "bigram")
    assert {"lantern", "compass", "harbour"} <= set(words)
    assert not {"orchard", "velvet", "anvil"} & set(words)
    assert {"hot air", "polar bear", "copper kettle", "salt marsh"} <= set(bigrams)
    assert not {"silver birch", "warm valley"} & set(bigrams)
    iron, linen = bigrams.index("iron gate"), bigrams.index("linen thread")
    assert linen == iron + 1, "equal PMI: the lower term comes first"
    assert all(abs(row["pmi"] - 6) > 1e-6 for row in truth if row["pmi"]), "no verdict hangs on a rounding"


def test_titles_follow_the_rules(truth: list[dict[str, Any]]) -> None:
    """Places are titles; 70 views are enough and 69 are not; what is no article is no title."""
    titles = of_source(truth, "title")
    assert {normalise(place) for place in PLACES} <= set(titles)
    assert {"st elwin", "café marlowe", "orrin 's door", "star a history", "c", "mercury", "quarry of hestria"} <= set(
        titles
    )
    assert "weaving in veldana" in titles
    assert "pottery in veldana" not in titles
    assert not {"", "main page", "circular reasoning", "birds", "saint elwin", "special search"} & set(titles)
    assert [row["views"] for row in truth if row["term"] == "mercury"] == [960]


def test_the_hourly_files_hold_the_planned_views(folder: Path, pages: list[ElementTree.Element]) -> None:
    """Summed by an independent reader that follows the dump's redirects, the files give the planted views."""
    redirects = {}
    for page in pages:
        element = page.find(f"{NS}redirect")
        if element is not None:
            redirects[page.findtext(f"{NS}title")] = element.attrib["title"]
    names = sorted((folder / "pageviews").iterdir())
    assert [path.name for path in names] == [f"pageviews-20240101-{hour:02d}0000.gz" for hour in range(6)]
    views: Counter[str | None] = Counter()
    for path in names:
        for line in gzip.decompress(path.read_bytes()).decode(errors="replace").splitlines():
            match re.split(" ", line):
                case [("en" | "en.m"), name, count, _] if count.isdigit():
                    title: str | None = unquote(name).replace("_", " ")
                    for _ in range(5):
                        title = redirects.get(title, title)
                    views[title] += int(count)
    assert {title: views[title] for title in PLANTED_VIEWS} == PLANTED_VIEWS
    assert all(views[place] >= MIN_VIEWS for place in PLACES)


def data_lines(folder: Path, pos: str) -> dict[int, str]:
    """Return the synsets of a part of speech by the byte where their line begins."""
    data, at, lines = (folder / "wordnet" / "dict" / f"data.{FILES[pos]}").read_bytes(), 0, {}
    for line in data.splitlines(keepends=True):
        if not line.startswith(b"  "):
            lines[at] = line.decode()
        at += len(line)
    return lines


def test_synsets_lie_where_they_say_and_point_at_synsets(folder: Path) -> None:
    """A data line begins with its own offset, has the fields it counts, and points at synsets that point back."""
    found = {pos: data_lines(folder, pos) for pos in FILES}
    assert 150 <= sum(map(len, found.values())) <= 350
    for pos, lines in found.items():
        for at, line in lines.items():
            fields = line.split(" | ")[0].split(" ")
            num_words = int(fields[3], 16)
            num_pointers = int(fields[4 + 2 * num_words])
            pointers = fields[5 + 2 * num_words : 5 + 2 * num_words + 4 * num_pointers]
            assert int(fields[0]) == at
            assert fields[2] == pos or (pos, fields[2]) == ("a", "s")
            rest = fields[5 + 2 * num_words + 4 * num_pointers :]
            assert rest == [] if pos != "v" else len(rest) == 1 + 3 * int(rest[0])
            for _symbol, offset, target_pos, _words in zip(*[iter(pointers)] * 4, strict=True):
                assert int(offset) in found[target_pos]
                assert pos == "r" or f" {at:08d} {pos} " in found[target_pos][int(offset)]


def test_the_index_names_every_lemma_and_its_synsets(folder: Path) -> None:
    """index.* is sorted, and its offsets are those of the synsets that hold the lemma."""
    for pos, suffix in FILES.items():
        lines = (folder / "wordnet" / "dict" / f"index.{suffix}").read_text().splitlines()
        assert [line[:2] for line in lines[:29]] == ["  "] * 29
        assert lines[29:] == sorted(lines[29:], key=lambda line: line.split()[0])
        synsets = data_lines(folder, pos)
        named = set()
        for fields in (line.split() for line in lines[29:]):
            num_symbols = int(fields[3])
            offsets = [int(offset) for offset in fields[6 + num_symbols :]]
            assert len(offsets) == int(fields[2]) == int(fields[4 + num_symbols])
            for offset in offsets:
                assert re.search(rf" {re.escape(fields[0])}(\((a|p|ip)\))? ", synsets[offset].lower())
            named |= set(offsets)
        assert named == set(synsets)


def test_first_lemmas_are_the_synset_terms(truth: list[dict[str, Any]]) -> None:
    """Markers and underscores are gone; a second lemma is no term."""
    synsets = of_source(truth, "synset")
    assert {"hot air balloon", "galore", "awake", "st elwin 's fire", "polar star", "cat 's cradle"} <= set(synsets)
    assert not {"aerostat", "galore ip", "lodestar"} & {row["term"] for row in truth}


def test_what_is_no_prose_is_full_of_canaries(pages: list[ElementTree.Element]) -> None:
    """Whoever counts markup brings words over the threshold that are below it: the traps are set everywhere."""
    articles, others = "", ""
    for page in pages:
        text = page.findtext(f"{NS}revision/{NS}text") or ""
        if page.findtext(f"{NS}ns") == "0" and page.find(f"{NS}redirect") is None:
            articles += text.lower()
        else:
            others += text.lower()
    assert all(articles.count(canary) > 300 for canary in CANARIES)
    assert all(others.count(canary) > 20 for canary in CANARIES)


def test_no_nonsense_word_occurs_in_any_source(folder: Path, pages: list[ElementTree.Element]) -> None:
    """A caption of NONSENSE words matches nothing, so none of them may be anywhere."""
    everything = " ".join("".join(page.itertext()) for page in pages).lower()
    everything += "".join(path.read_text() for path in (folder / "wordnet" / "dict").iterdir()).lower()
    everything += "".join(
        gzip.decompress(path.read_bytes()).decode(errors="replace") for path in (folder / "pageviews").iterdir()
    )
    assert not [word for word in NONSENSE if word in everything.lower()]
