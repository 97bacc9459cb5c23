from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.protocols.ocr import measure_words, read_right, read_words
from wit.errors import InputError


def test_lexicons_and_shared_words(tmp_path: Path) -> None:
    """A picture's choices are its lexicon, in either case, or else the words of all pictures."""
    path = tmp_path / "words.csv"
    path.write_text("image,word,lexicon\na,Stop,go|STOP|slow\nb,Bar,\nc,bar,\n")
    words = read_words(str(path))
    assert words.words == ("bar", "go", "slow", "stop")
    assert (words.own, words.lexicons) == ((3, 0, 0), ((1, 2, 3), (0, 3), (0, 3)))
    path.write_text("image,word,lexicon\na,Stop,go|slow\n")
    with pytest.raises(InputError, match="line 2: expected 'stop' in its lexicon, found 2 other words"):
        read_words(str(path))


def test_accuracy_is_a_naive_count(tmp_path: Path) -> None:
    """Whether a word is read is what looking at each lexicon's scores by hand says."""
    rng = np.random.default_rng(0)
    names = [f"w{number}" for number in range(12)]
    rows = []
    for number in range(60):
        lexicon = rng.choice(names, 5, replace=False).tolist()
        rows.append((f"{number}.png", lexicon[0], "|".join(sorted(lexicon))))
    path = tmp_path / "words.tsv"
    path.write_text("image\tword\tlexicon\n" + "".join("\t".join(row) + "\n" for row in rows))
    words = read_words(str(path))
    places = {word: place for place, word in enumerate(words.words)}
    word_CD = rng.standard_normal((len(words.words), 6)).astype(np.float32)
    image_ND = word_CD[list(words.own)] + rng.standard_normal((60, 6)).astype(np.float32)
    naive = [
        max(lexicon.split("|"), key=lambda word: float(word_CD[places[word]] @ image)) == own
        for (_, own, lexicon), image in zip(rows, image_ND, strict=True)
    ]
    assert read_right(image_ND, word_CD, words).tolist() == naive
    found = measure_words(image_ND, word_CD, words, "iiit5k")
    assert (found.share.num_hits, found.chance) == (sum(naive), pytest.approx(0.2))
    assert 0 < sum(naive) < 60
