"""WordNet folders: heads and ids of synsets, and folders that are none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from queries.wordnet import FILES, Synset, read_synsets
from wit.errors import InputError

LICENCE = "  1 This software and database is being provided to you\n"
DATA = {
    "data.noun": "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a member  \n"
    "09044862 15 n 0a St._Louis 0 Gateway_to_the_West 0 000 | a city  \n",
    "data.verb": "00001740 29 v 04 breathe 0 take_a_breath 0 000 02 + 02 00 + 08 00 | draw air  \n",
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


def test_real_wordnet_has_the_synsets_that_are_documented() -> None:
    """WordNet 3.0 as Debian packs it: 82,115 nouns, 13,767 verbs, 18,156 adjectives, 3,621 adverbs."""
    folder = Path("/usr/share/wordnet")
    if not (folder / "data.noun").exists():
        pytest.skip("no WordNet here: apt-get install wordnet-base")
    synsets = list(read_synsets(str(folder)))
    assert Counter(synset.id[0] for synset in synsets) == {"n": 82_115, "v": 13_767, "a": 18_156, "r": 3_621}
    assert len({synset.id for synset in synsets}) == len(synsets)
    heads = {synset.id: synset.lemma for synset in synsets}
    assert (heads["n02084071"], heads["n02121620"]) == ("dog", "cat")
    assert list(dict.fromkeys(synset.id[0] for synset in synsets)) == list(FILES)
