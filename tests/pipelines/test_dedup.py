"""Near-duplicates: found exactly, joined into clusters, one survivor each by the written rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recipes import Recipe
from pipelines.stages.dedup import Dedup, entries
from pipelines.stages.fingerprint import Fingerprint
from tests.pipelines.dedup_runs import Image, Row, dedup, distances, expected, rows_of
from wit.errors import RecipeError
from wit.near import Rule

PHASH = Dedup(hash="phash", phash_radius=3, survivor=("pixels", "rank"))
BOTH = Dedup(hash="both", phash_radius=3, pdq_radius=4)


@st.composite
def chained_images(draw: st.DrawFn) -> list[Image]:
    """Images of which many are earlier ones with a few bits changed, of any quality, some of one content or turned."""
    images: list[Image] = []
    for _ in range(draw(st.integers(0, 14))):
        base = draw(st.sampled_from(images)) if images and draw(st.booleans()) else None
        phash = base.phash if base else draw(st.integers(0, 2**64 - 1))
        pdq = base.pdq if base else draw(st.integers(0, 2**256 - 1))
        for bit in draw(st.sets(st.integers(0, 63), max_size=3)):
            phash ^= 1 << bit
        for bit in draw(st.sets(st.integers(0, 255), max_size=4)):
            pdq ^= 1 << bit
        turned = ()
        if images and draw(st.booleans()):
            other = draw(st.sampled_from(images))
            turned = ((4, other.phash ^ draw(st.sampled_from([0, 1, 6])), other.pdq ^ draw(st.sampled_from([0, 1]))),)
        images.append(
            Image(
                phash=phash,
                pdq=pdq,
                quality=draw(st.sampled_from([20, 49, 50, 100])),
                content=draw(st.sampled_from([None, None, 1, 2])),
                num_pixels=draw(st.sampled_from([1, 2])),
                caption=draw(st.sampled_from(["a", "A!", "a red car", "a big car"])),
                turned=turned,
            )
        )
    return images


STAGES = [
    PHASH,
    Dedup(hash="pdq", pdq_radius=4, survivor=("caption",)),
    replace(BOTH, survivor=("rank", "pixels"), turns=True),
    Dedup(hash="phash", phash_radius=2, clusters="components", turns=True),
    replace(BOTH, clusters="components", max_distance=6),
    replace(BOTH, keep_captions=True),
]


def gone(rows: list[Row], stage: Dedup) -> dict[str, tuple[str, str, int]]:
    """Cluster, survivor and distance of each image that is to go, by key."""
    return {
        rows[i].key: (rows[fate.cluster].key, rows[fate.survivor].key, fate.distance)
        for i, fate in expected(rows, stage).items()
    }


def gone_in(duplicates: pa.Table) -> dict[str, tuple[str, str, int]]:
    """The same, as the stage has it."""
    return {row["key"]: (row["cluster"], row["survivor"], row["distance"]) for row in duplicates.to_pylist()}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.hash}-{stage.clusters}-{stage.max_distance}")
@settings(max_examples=8)
@given(images=chained_images())
def test_who_goes_for_whom_is_as_the_rule_says(
    stage: Dedup, images: list[Image], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cluster, survivor and distance are those of comparing all with all; what stays and the rejects agree."""
    rows = rows_of(images)
    tables = dedup(tmp_path_factory.mktemp("run"), rows, stage, num_buckets=1)
    fates = gone(rows, stage)
    assert gone_in(tables["duplicates"]) == fates
    assert tables["kept"]["key"].to_pylist() == [row.key for row in rows if row.key not in fates]
    details = dict(zip(tables["rejects"]["key"].to_pylist(), tables["rejects"]["detail"].to_pylist(), strict=True))
    assert details == {key: f"{survivor}, {distance} bits" for key, (_, survivor, distance) in fates.items()}


def planted(seed: int, count: int = 60) -> list[Image]:
    """Images in families around few centres, with copies."""
    random = Random(seed)
    centres = [(random.getrandbits(64), random.getrandbits(256)) for _ in range(count // 8)]
    images = []
    for _ in range(count):
        phash, pdq = random.choice(centres)
        flips = random.choice([(), (), (random.randrange(64),), (1, 2)])
        phash ^= sum(1 << bit for bit in flips)
        pdq ^= sum(1 << bit for bit in random.sample(range(256), random.choice([0, 0, 1, 2])))
        turned = ((4, random.choice(centres)[0], random.choice(centres)[1]),)
        content = random.choice([None, None, None, 1, 2])
        images.append(Image(phash, pdq, random.choice([10, 100, 100]), content, random.randrange(3), turned=turned))
    return images


@pytest.mark.parametrize("stage", [PHASH, replace(BOTH, turns=True)], ids=["phash", "both"])
def test_cuts_change_nothing(stage: Dedup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of buckets and of places that prints are cut into: the same images go for the same reasons."""
    rows = rows_of(planted(1))
    fates = gone(rows, stage)
    assert fates
    found = []
    for num_buckets, place_rows in ((1, 1 << 22), (3, 1 << 22), (8, 20)):
        monkeypatch.setattr(entries, "PLACE_ROWS", place_rows)
        folder = tmp_path / f"{num_buckets}-{place_rows}"
        tables = dedup(folder, rows, stage, num_buckets)
        num_tasks = len(list((folder / "dedup/edges/kept").iterdir()))
        assert num_tasks == (1 if place_rows > 20 else len(list((folder / "dedup/pairs").iterdir())))
        assert gone_in(tables["duplicates"]) == fates
        edges = tables["edges/kept"].drop_columns(["entry_a", "entry_b"]).to_pylist()
        copies = tables["copies"].select(["key", "first_key"]).to_pylist()
        found.append((sorted(map(str, edges)), sorted(map(str, copies)), tables["clusters/kept"].to_pylist()))
    assert num_tasks > 4
    assert found[0] == found[1] == found[2]


def test_edges_are_true(tmp_path: Path) -> None:
    """An edge joins images within the rule, the lower key first, and tells the distance of each hash."""
    rows = rows_of([replace(image, quality=100, content=None) for image in planted(2)])
    tables = dedup(tmp_path, rows, BOTH)
    place_of = {row.key: i for i, row in enumerate(rows)}
    near = distances(rows, BOTH)
    found = tables["edges/kept"].to_pylist()
    assert found
    for edge in found:
        i, j = place_of[edge["key_a"]], place_of[edge["key_b"]]
        assert i < j
        assert edge["turn"] == 0
        assert edge["distance"] == edge["pdq_distance"] == near[i, j]
        assert edge["phash_distance"] == (rows[i].image.phash ^ rows[j].image.phash).bit_count()
    for copy in tables["copies"].to_pylist():
        i, j = place_of[copy["first_key"]], place_of[copy["key"]]
        assert i < j
        assert near[i, j] == 0


def test_a_hot_print_does_not_grow_edges_quadratically(tmp_path: Path) -> None:
    """3,000 copies of one placeholder, each of its own content, give 2,999 copies, no edge and one survivor."""
    tables = dedup(tmp_path, rows_of([Image(7)] * 3000), PHASH)
    assert tables["copies"].num_rows == tables["rejects"].num_rows == 2999
    assert tables["edges/kept"].num_rows == 0
    assert tables["kept"].num_rows == 1


def test_chains_end_where_the_rule_says(tmp_path: Path) -> None:
    """Ten images in a chain of 3 bits each: all are one component, a limit cuts it, and stars reach one step."""
    images = [Image(phash=(1 << 3 * step) - 1, num_pixels=100 - step) for step in range(10)]
    rows = rows_of(images)
    number_of = {row.key: 100 - row.image.num_pixels for row in rows}
    kept = {}
    for name, stage in {
        "component": replace(PHASH, clusters="components"),
        "limit": replace(PHASH, clusters="components", max_distance=9),
        "star": PHASH,
    }.items():
        kept[name] = sorted(number_of[key] for key in dedup(tmp_path / name, rows, stage)["kept"]["key"].to_pylist())
    assert kept == {"component": [0], "limit": [0, 4, 8], "star": [0, 2, 4, 6, 8]}


def test_blank_images_are_no_near_duplicates(tmp_path: Path) -> None:
    """Images of low quality with one hash all stay, but those of equal content, which are the same image."""
    images = [Image(0, 0, quality=49, content=content) for content in (1, 2, 3, 3)]
    tables = dedup(tmp_path, rows_of(images), BOTH)
    assert tables["rejects"].num_rows == 1
    assert tables["kept"].num_rows == 3


def test_the_longer_caption_stays(tmp_path: Path) -> None:
    """Of pictures of one size that with the longest caption in normal form stays: marks and capitals add nothing."""
    captions = ["a red car", "A RED CAR!!!", "a red car in the rain", "..." * 30]
    rows = rows_of([Image(5, caption=caption) for caption in captions])
    (key,) = dedup(tmp_path, rows, Dedup())["kept"]["key"].to_pylist()
    assert next(row.image.caption for row in rows if row.key == key) == "a red car in the rain"


def test_a_picture_stays_once_for_each_of_its_captions(tmp_path: Path) -> None:
    """keep_captions: captions that differ in normal form stay, the others go for the one with their caption."""
    captions = ["a red car", "A red car!", "my car", "rain", "my  CAR"]
    rows = rows_of([Image(5, caption=caption, num_pixels=9 - i) for i, caption in enumerate(captions)])
    tables = dedup(tmp_path, rows, Dedup(keep_captions=True))
    caption_of = {row.key: row.image.caption for row in rows}
    assert {caption_of[key] for key in tables["kept"]["key"].to_pylist()} == {"a red car", "my car", "rain"}
    pairs = {(caption_of[row["key"]], caption_of[row["survivor"]]) for row in tables["duplicates"].to_pylist()}
    assert pairs == {("A red car!", "a red car"), ("my  CAR", "my car")}


def test_the_default_rule_is_that_of_near() -> None:
    """The recipe's fields are those of wit.near.Rule, with its defaults."""
    assert Dedup().rule == Rule()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"survivor": ("rank", "rank")}, "each criterion once"),
        ({"max_distance": 3}, "which has no chains"),
    ],
)
def test_contradictions_are_refused(values: dict[str, object], message: str) -> None:
    """What cannot be meant is one line that says what was expected."""
    with pytest.raises(RecipeError, match=message):
        Dedup(**values)  # type: ignore[arg-type]


def test_turns_need_turned_prints() -> None:
    """dedup.turns without fingerprint.turns is refused before the run; with it the run has its ten stages."""
    with pytest.raises(RecipeError, match=r"fingerprint\.turns"):
        Recipe(dedup=Dedup(turns=True)).verbs()
    assert len(Recipe(dedup=Dedup(turns=True), fingerprint=Fingerprint(turns="mirror")).verbs()) == 10
