"""WordNet folders: heads, lemmas and ids of synsets, and folders that are none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest

from queries.wordnet import FILES, SYNSETS, Synset, read_synsets, write_synsets
from tests.support import real_data
from wit.errors import InputError
from wit.text import normalise

LICENCE = "  1 This software and database is being provided to you\n"
DATA = {
    "data.noun": "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a member  \n"
    "09044862 15 n 0a St._Louis 0 " + "".join(f"Name_{number} {number:x} " for number in range(9)) + "000 | a city  \n",
    "data.verb": "00001740 29 v 02 breathe 0 take_a_breath 0 000 02 + 02 00 + 08 00 | draw air  \n",
    "data.adj": "00001740 00 a 01 able 0 000 | having means  \n"
    "00005107 00 s 02 galore(ip) a abounding 0 000 | plenty  \n",
    "data.adv": "00001740 02 r 01 a_cappella 0 000 | without accompaniment  \n",
}


def _write(folder: Path, data: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in data.items():
        (folder / name).write_text(LICENCE + text)


@pytest.mark.parametrize("place", [".", "dict"])
def test_the_head_of_each_synset_in_order(tmp_path: Path, place: str) -> None:
    """A folder, or the dict/ in it, gives the first lemma of each synset: nouns, verbs, adjectives, adverbs."""
    _write(tmp_path / place, DATA)
    assert list(read_synsets(str(tmp_path))) == [
        Synset("n02084071", "dog"),
        Synset("n09044862", "St. Louis"),
        Synset("v00001740", "breathe"),
        Synset("a00001740", "able"),
        Synset("a00005107", "galore"),
        Synset("r00001740", "a cappella"),
    ]
    assert Synset("n09044862", "St. Louis").term == "st louis"


def test_all_lemmas_of_each_synset_in_order(tmp_path: Path) -> None:
    """All lemmas follow their head in WordNet's order, without the markers of adjectives."""
    _write(tmp_path, DATA)
    assert [synset for synset in read_synsets(str(tmp_path), "all") if synset.id in ("n02084071", "a00005107")] == [
        Synset("n02084071", "dog", 0),
        Synset("n02084071", "domestic dog", 1),
        Synset("n02084071", "Canis familiaris", 2),
        Synset("a00005107", "galore", 0),
        Synset("a00005107", "abounding", 1),
    ]
    # w_cnt is hexadecimal
    assert sum(synset.id == "n09044862" for synset in read_synsets(str(tmp_path), "all")) == 10


@pytest.mark.parametrize("marker", ["(a)", "(p)", "(ip)", ""])
def test_markers_of_adjectives_are_removed(tmp_path: Path, marker: str) -> None:
    """What wndb(5WN) calls a syntactic marker is no part of a lemma; other brackets are."""
    line = f"00005107 00 s 02 asleep{marker} 0 a_(b) 0 000 | resting  \n"
    _write(tmp_path, {**DATA, "data.adj": line})
    assert [synset.lemma for synset in read_synsets(str(tmp_path), "all") if synset.id[0] == "a"] == ["asleep", "a (b)"]


def test_files_of_the_open_english_wordnet(tmp_path: Path) -> None:
    """Lemmas beyond ASCII are read as UTF-8; a lex_id may have two digits, a line may end in CR LF."""
    line = "07605597 13 n 03 Gruyère 0 Emmental_cheese 10 İstanbul 1a 000 | cheese  \r\n"
    _write(tmp_path, {**DATA, "data.noun": line})
    lemmas = [synset.lemma for synset in read_synsets(str(tmp_path), "all") if synset.id == "n07605597"]
    assert lemmas == ["Gruyère", "Emmental cheese", "İstanbul"]


@pytest.mark.parametrize("lemmas", ["heads", "all"])
def test_synsets_are_written_in_order(tmp_path: Path, lemmas: Literal["heads", "all"]) -> None:
    """The table has the lemmas of all folders in their order, numbered, each with its normal form."""
    for name in ("first", "second"):
        _write(tmp_path / name, DATA)
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    out = tmp_path / "synsets.parquet"
    expected = [synset for folder in folders for synset in read_synsets(folder, lemmas)]
    assert write_synsets(folders, lemmas, str(out)) == len(expected)
    table = pq.read_table(out)
    assert table.schema.equals(SYNSETS)
    assert table.to_pylist() == [
        {"position": position, "id": synset.id, "lemma": synset.lemma, "term": normalise(synset.lemma)}
        for position, synset in enumerate(expected)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "not a synset",
        "02084071 05 n 03 dog 0 domestic_dog 0 000 | one lemma too few  ",
        "02084071 05 n 01 dog 0 domestic_dog 0 000 | one too many  ",
        "02084071 05 n 01 dog  000 | no lex_id  ",
        "02084071 05 x 01 dog 0 000 | no part of speech  ",
        "2084071 05 n 01 dog 0 000 | a short offset  ",
        "02084071 05 n 00 000 | no lemma  ",
        "02084071 05 n 01 d\udcffog 0 000 | not UTF-8  ",
        "02084071 05 n 01 dog 0",
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    """A line that is no synset is an InputError that names file and line, whichever lemmas are read."""
    _write(tmp_path, DATA)
    with (tmp_path / "data.noun").open("ab") as file:
        file.write((line + "\n").encode(errors="surrogateescape"))
    for lemmas in ("heads", "all"):
        with pytest.raises(InputError, match=r"data\.noun:4: expected a synset"):
            list(read_synsets(str(tmp_path), lemmas))


def test_a_wrong_folder_says_what_is_missing(tmp_path: Path) -> None:
    """A folder without WordNet's files, with some of them, or with other text is an InputError that says so."""
    with pytest.raises(InputError, match="found none of them"):
        list(read_synsets(str(tmp_path)))
    _write(tmp_path, {name: text for name, text in DATA.items() if name != "data.adv"})
    with pytest.raises(InputError, match=r"found no data\.adv"):
        list(read_synsets(str(tmp_path)))
    _write(tmp_path, {**DATA, "data.verb": "not a synset\n"})
    with pytest.raises(InputError, match=r"data\.verb:2: expected a synset"):
        list(read_synsets(str(tmp_path)))
    _write(tmp_path, {**DATA, "data.adj": ""})
    with pytest.raises(InputError, match=r"data\.adj: expected synsets, found none"):
        list(read_synsets(str(tmp_path)))


def _sizes(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Return synsets, and pairs of a word and a synset as WordNet counts them: whatever the case, by letter."""
    synsets = list(read_synsets(str(folder)))
    assert len({synset.id for synset in synsets}) == len(synsets)
    assert list(dict.fromkeys(synset.id[0] for synset in synsets)) == list(FILES)
    pairs = {(synset.id, synset.lemma.lower()) for synset in read_synsets(str(folder), "all")}
    return Counter(synset.id[0] for synset in synsets), Counter(id[0] for id, _ in pairs)


def test_wordnet_3_0_has_what_is_documented() -> None:
    """WordNet 3.0 as Debian packs it has the synsets and word-sense pairs that wnstats(7WN) lists."""
    folder = Path("/usr/share/wordnet")
    if not (folder / "data.noun").exists():
        pytest.skip("no WordNet here: apt-get install wordnet-base")
    synsets, pairs = _sizes(folder)
    assert synsets == {"n": 82_115, "v": 13_767, "a": 18_156, "r": 3_621}
    assert pairs == {"n": 146_312, "v": 25_047, "a": 30_002, "r": 5_580}
    heads = {synset.id: synset.lemma for synset in read_synsets(str(folder))}
    assert (heads["n02084071"], heads["n02121620"]) == ("dog", "cat")


def test_wordnet_3_1_has_its_synsets() -> None:
    """WordNet 3.1, in a folder of its dict/: 82,192 nouns, 13,789 verbs, 18,185 adjectives, 3,625 adverbs."""
    synsets, pairs = _sizes(real_data("wordnet", "3.1"))
    assert synsets == {"n": 82_192, "v": 13_789, "a": 18_185, "r": 3_625}
    assert pairs.total() == 207_235
