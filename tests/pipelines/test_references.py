"""What is near an evaluation image is found, counted once, and cut to the nearest ten: as by comparing all with all."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.references import References, distinct
from pipelines.stages.thresholds import parse_thresholds, rules_of
from wit.errors import UserError
from wit.fingerprint import Prints
from wit.near import Rule
from wit.schema import REFERENCES

LOW, GOOD = 10, 90


def prints_of(rows: list[tuple[int, int, int, int]]) -> Prints:
    """Return prints of (phash, last word of PDQ, quality, content)."""
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    words = np.zeros((len(rows), 4), np.uint64)
    words[:, 3] = columns[1]
    return Prints(columns[0].astype(np.uint64), words, columns[2].astype(np.int32), columns[3].copy())


def references_of(rows: list[tuple[str, str, int, tuple[int, int, int, int]]], rules: dict[str, Rule]) -> References:
    """Return references of (set, item, turn, print)."""
    prints = prints_of([each[3] for each in rows]).columns()
    names = {"set": [row[0] for row in rows], "item": [row[1] for row in rows], "turn": [row[2] for row in rows]}
    columns = {**names, "label": [None] * len(rows), **prints}
    table = pa.table([pa.array(columns[field.name], field.type) for field in REFERENCES], schema=REFERENCES)
    return References.of(table, rules)


small = st.tuples(
    st.sampled_from([0, 1, 3, 7]),
    st.sampled_from([0, 1, 3, 15]),
    st.sampled_from([LOW, GOOD]),
    st.sampled_from([1, 2, 3]),
)
"""Prints that are near, equal or of equal content more often than not."""
referred = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from("xyz"), st.integers(0, 1), small)


def distance_of(left: tuple[int, ...], right: tuple[int, ...], rule: Rule) -> int | None:
    """Return the distance of two prints, None when they are not near: the rule, read out."""
    if left[3] == right[3]:
        return 0
    phash, pdq = (left[0] ^ right[0]).bit_count(), (left[1] ^ right[1]).bit_count()
    is_near = {"phash": phash <= rule.phash_radius, "pdq": pdq <= rule.pdq_radius}
    is_near["both"] = is_near["phash"] and is_near["pdq"]
    if min(left[2], right[2]) < rule.min_quality or not is_near[rule.hash]:
        return None
    return phash if rule.hash == "phash" else pdq


@settings(max_examples=150, deadline=None)
@given(
    samples=st.lists(small, max_size=9),
    references=st.lists(referred, min_size=1, max_size=8, unique_by=lambda row: row[:3]),
    hash_name=st.sampled_from(["phash", "pdq", "both"]),
    most=st.integers(1, 3),
)
def test_nearest_is_what_comparing_all_with_all_finds(
    samples: list[tuple[int, int, int, int]],
    references: list[tuple[str, str, int, tuple[int, int, int, int]]],
    hash_name: str,
    most: int,
) -> None:
    """Of each item the nearest samples, each once whatever the turn; of each sample the nearest item; sets by their
    own rules; of what is as near the earlier."""
    rules = {"a": Rule(hash_name, 1, 1), "b": Rule(hash_name, 2, 3)}  # type: ignore[arg-type]
    found = references_of(references, rules)
    by_item: dict[tuple[str, str], dict[int, int]] = {}
    by_sample: dict[int, list[tuple[int, str, str]]] = {}
    for set_name, item, _, print_ in references:
        for sample, each in enumerate(samples):
            distance = distance_of(each, print_, rules[set_name])
            if distance is not None:
                known = by_item.setdefault((set_name, item), {})
                known[sample] = min(distance, known.get(sample, distance))
                by_sample.setdefault(sample, []).append((distance, set_name, item))
    nearest = found.nearest(prints_of(samples), most)
    names = found.names(nearest.items, ("set", "item"))
    rows = zip(
        names["set"].to_pylist(), names["item"].to_pylist(), nearest.items.distance, nearest.items.sample, strict=True
    )
    expected = [
        (*name, distance, sample)
        for name in sorted(by_item)
        for distance, sample in sorted((d, s) for s, d in by_item[name].items())[:most]
    ]
    assert [(*row[:2], int(row[2]), int(row[3])) for row in rows] == expected
    names = found.names(nearest.samples, ("set", "item"))
    rows = zip(
        nearest.samples.sample,
        nearest.samples.distance,
        names["set"].to_pylist(),
        names["item"].to_pylist(),
        strict=True,
    )
    assert [(int(row[0]), int(row[1]), *row[2:]) for row in rows] == [
        (sample, *min(by_sample[sample])) for sample in sorted(by_sample)
    ]


def test_a_placeholder_of_a_million_samples_is_one_print() -> None:
    """A million samples and a thousand items that look the same make ten matches an item, and no quadratic work.

    Each was encoded in another way: no two have the same content.
    """
    many = prints_of([(5, 5, GOOD, 0)]).take(np.zeros(1_000_000, np.int64))._replace(content=np.arange(1_000_000))
    rows = [("a", f"{number:04d}", 0, (5, 5, GOOD, -1 - number)) for number in range(1_000)]
    nearest = references_of(rows, {"a": Rule()}).nearest(many, 10)
    assert nearest.items.sample.tolist() == list(range(10)) * 1_000
    assert len(nearest.samples.sample) == 1_000_000
    assert not nearest.samples.reference.any()


@given(st.lists(small, max_size=12))
def test_distinct_prints_and_their_rows(rows: list[tuple[int, int, int, int]]) -> None:
    """Each print once, and for each the rows that have it, ascending."""
    found = distinct(prints_of(rows))
    groups = [found.order[low:high].tolist() for low, high in zip(found.starts[:-1], found.starts[1:], strict=True)]
    expected: dict[tuple[int, int, int, int], list[int]] = {}
    for number, row in enumerate(rows):
        expected.setdefault(row, []).append(number)
    assert sorted(groups) == sorted(expected.values())
    assert found.prints.num_rows == len(expected)


def test_prints_with_one_number_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the number that sorts prints is the same for all, they are compared by what they hold."""
    monkeypatch.setattr("pipelines.stages.references._ODD", np.uint64(0))
    rows = [(1, 2, GOOD, 3), (4, 2, GOOD, 3), (1, 2, GOOD, 3)]
    found = distinct(prints_of(rows))
    assert sorted(found.counts.tolist()) == [1, 2]


def test_thresholds_by_set() -> None:
    """N is of all sets, NAME=N of one; a name may hold an equals sign."""
    assert parse_thresholds(["24", "b=c=3"], ["a", "b=c"], 31, 127) == {"a": 24, "b=c": 3}
    assert parse_thresholds([], ["a"], 31, 127) == {"a": 31}
    assert rules_of(Rule("phash"), {"a": 4})["a"] == Rule("phash", 4)
    assert rules_of(Rule(), {"a": 4})["a"] == Rule("both", pdq_radius=4)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x=3"], "expected the name of a set"),
        (["a"], "expected a whole number from 0 to 127"),
        (["a=3.5"], "expected a whole number"),
        (["nan"], "expected a whole number"),
        (["128"], "from 0 to 127"),
        (["-1"], "from 0 to 127"),
        (["a=1", "a=2"], "another is given"),
        (["1", "2"], "another is given"),
    ],
)
def test_wrong_thresholds_are_one_line(texts: list[str], message: str) -> None:
    """What is no number, out of range, of no set or given twice is told with its option."""
    with pytest.raises(UserError, match=message) as caught:
        parse_thresholds(texts, ["a"], 31, 127)
    assert str(caught.value).startswith("--threshold ")


def test_a_comparison_of_training_sets_has_one_threshold() -> None:
    """There it is a number without a name."""
    with pytest.raises(UserError, match="expected a number alone, where no evaluation set is named, found 'a'"):
        parse_thresholds(["a=3"], [""], 31, 127)
