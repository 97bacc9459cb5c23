"""The counts behind the curves of near-duplicates, against brute force on signs that are made up."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.edits import EDITS
from benchmarks.near_duplicates.cifar import Cifar
from benchmarks.near_duplicates.counts import IS_TURN, Planted, count, count_pairs, count_turned, is_kin, is_same
from benchmarks.near_duplicates.measured import Measured
from benchmarks.near_duplicates.pictures import Picture
from benchmarks.near_duplicates.report import write_report
from benchmarks.near_duplicates.signs import HASHES, LEARNED, Signs, rows

PHASH, _, PDQ, _ = HASHES
NUM_PHOTOS, NUM_OTHERS = 3, 4


def signs(random: np.random.Generator, num: int) -> Signs:
    """Made-up hashes near each other, so that all distances occur, and vectors of unit length."""
    vectors = random.normal(size=(num, 8)) + 1
    phash = random.integers(0, 1 << 12, (num, 1), dtype=np.uint64)
    pdq = random.integers(0, 1 << 6, (num, 4), dtype=np.uint64)
    return {
        "quality": random.integers(0, 101, num).astype(np.int32),
        "pHash": phash,
        "pHash exact": phash ^ np.uint64(1),
        "PDQ": pdq,
        "PDQ exact": pdq ^ np.uint64(1),
        "learned": (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
    }


def planted(seed: int) -> Planted:
    random = np.random.default_rng(seed)
    pictures = [Picture(f"p{number}.jpg", "made up", bytes([number])) for number in range(NUM_PHOTOS + NUM_OTHERS)]
    edits = [signs(random, len(EDITS)) for _ in range(NUM_PHOTOS)]
    return Planted(pictures[:NUM_PHOTOS], edits, pictures, signs(random, len(pictures)))


def bits(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True))


@given(seed=st.integers(0, 1 << 20), phash=st.integers(0, 12), pdq=st.integers(0, 24), least=st.sampled_from([0, 50]))
def test_counts_are_those_of_brute_force(seed: int, phash: int, pdq: int, least: int) -> None:
    """Recall and false pairs of two detectors together are what comparing everything with everything gives."""
    made = planted(seed)
    found = np.zeros(len(EDITS))
    num_false = num_compared = 0
    for place, edits in enumerate(made.edits):
        for edit in range(len(EDITS)):
            for reference in range(len(made.references)):
                near = (
                    bits(edits["pHash"][edit], made.signs["pHash"][reference]) <= phash
                    and bits(edits["PDQ"][edit], made.signs["PDQ"][reference]) <= pdq
                    and min(edits["quality"][edit], made.signs["quality"][reference]) >= least
                )
                if reference == place:
                    found[edit] += near
                elif not IS_TURN[edit]:
                    num_false += near
                    num_compared += 1
    counts = count([PHASH, PDQ], made, least)
    assert counts.recall(phash, pdq).tolist() == pytest.approx((found / NUM_PHOTOS).tolist())
    assert counts.recall_of_all(phash, pdq) == pytest.approx(found[~IS_TURN].mean() / NUM_PHOTOS)
    assert counts.num_false(phash, pdq) == num_false
    assert counts.false_per_million(phash, pdq) == pytest.approx(1e6 * num_false / num_compared)


def test_together_is_alone_where_the_other_says_nothing() -> None:
    """With the widest radius of the one, two detectors together are the other."""
    made = planted(1)
    together, alone = count([PHASH, PDQ], made), count([PDQ], made)
    for radius in (0, 3, 9, 20):
        assert together.num_false(PHASH.most, radius) == alone.num_false(radius)
        assert together.recall(PHASH.most, radius).tolist() == alone.recall(radius).tolist()


def test_turned_photos_are_as_near_as_their_nearest_turn() -> None:
    """Each photo counts once, by the least of its turns' distances."""
    made = planted(2)
    random = np.random.default_rng(3)
    turned = [signs(random, 8) for _ in range(NUM_PHOTOS)]
    counts = count_turned(PHASH, made, turned)
    for place, edits in enumerate(made.edits):
        for edit in range(len(EDITS)):
            least = min(bits(edits["pHash"][edit], turned[place]["pHash"][turn]) for turn in range(8))
            assert counts.true[0, place, edit] == least
    assert counts.false.sum() == NUM_PHOTOS * (NUM_PHOTOS - 1) * int((~IS_TURN).sum())


def test_pairs_are_counted_once_however_they_are_cut() -> None:
    """Every wanted pair i < j is counted at its distance; 1,200 pictures are more than one cut of the table."""
    made = signs(np.random.default_rng(4), 1200)
    among = np.random.default_rng(5).random((1200, 1200)) < 0.5
    counts = count_pairs([PHASH], made, among)
    apart = PHASH.distances(made["pHash"], made["pHash"])
    assert counts.tolist() == np.bincount(apart[np.triu(among, 1)], minlength=PHASH.most + 2).tolist()


def test_learned_distances_are_thousandths_of_the_cosine_distance() -> None:
    """Equal vectors are 0 apart, orthogonal ones 1,000, opposite ones 2,000, the most there is."""
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    assert LEARNED.distances(vectors[:1], vectors).tolist() == [[0, 1000, 2000]]
    assert LEARNED.most == 2000


def test_what_was_held_out_follows_from_bytes() -> None:
    """A picture was kept from training where its SHA-256 begins with 8 to f, and goes with its signs."""
    made = planted(6)
    kept = made.held_out()
    held = [place for place, picture in enumerate(made.references) if picture.is_held_out]
    assert [made.references.index(picture) for picture in kept.references] == held
    assert kept.signs["pHash"].tolist() == rows(made.signs, np.array(held))["pHash"].tolist()
    assert len(kept.photos) == len(kept.edits) == sum(place < NUM_PHOTOS for place in held)


def test_copies_in_the_collections_are_no_false_pairs() -> None:
    """The five pictures that are there twice are known; a folder of Caltech-101 is kin, other folders are not."""
    names = ["pigeon/image_0002", "pigeon/image_0006", "pigeon/image_0001", "stop_sign/image_0001"]
    pictures = [Picture(f"eval/caltech101/{name}.jpg", "caltech101", b"") for name in names]
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    assert (is_same(pictures, pictures) == expected).all()
    assert is_kin(pictures, pictures)[0].tolist() == [True, True, True, False]


def test_report_has_what_was_counted_and_the_same_bytes_again(tmp_path: Path) -> None:
    """The curves' numbers are the counts', and nothing in the files depends on when they are written."""
    pytest.importorskip("faiss")
    random = np.random.default_rng(7)
    made = planted(7)
    cifar = Cifar(np.array([1, 2, 1]), signs(random, 3), signs(random, 3), signs(random, 20))
    files = {name: signs(random, 1) for name in ("a.jpg", "a_resize.jpg")}
    measured = Measured(made, [signs(random, 8) for _ in range(NUM_PHOTOS)], cifar, files)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_report(tmp_path / folder, measured)
    for name in ("report.md", "curves.csv", "edits.csv", "recall.svg", "false_pairs.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    with (tmp_path / "one" / "curves.csv").open(newline="") as file:
        written = {(row["detector"], int(row["radius"])): row for row in csv.DictReader(file)}
    counts = count([PDQ], made)
    assert float(written["PDQ", 8]["recall"]) == pytest.approx(counts.recall_of_all(8), abs=1e-5)
    assert int(written["PDQ", 8]["num_false"]) == counts.num_false(8)
    assert "| a_resize.jpg |" in (tmp_path / "one" / "report.md").read_text()


def test_either_is_one_the_other_or_both() -> None:
    """What either detector finds is what both find alone, less what they find together, true and false alike."""
    made = planted(8)
    pair, phash, pdq = count([PHASH, PDQ], made), count([PHASH], made), count([PDQ], made)
    for radii in ((0, 0), (3, 5), (6, 9), (64, 256)):
        recall, num_false = pair.either(*radii)
        alone = phash.recall(radii[0]) + pdq.recall(radii[1])
        assert recall.tolist() == pytest.approx((alone - pair.recall(*radii)).tolist())
        assert num_false == phash.num_false(radii[0]) + pdq.num_false(radii[1]) - pair.num_false(*radii)
