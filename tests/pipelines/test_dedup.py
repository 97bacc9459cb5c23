"""Near-duplicates: found exactly, joined into clusters, one survivor each by the written rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.dedup import Dedup
from tests.pipelines.dedup_runs import Image, dedup, expected, rows_of

PHASH = Dedup(hash="phash", phash_radius=3)


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
    Dedup(hash="phash", phash_radius=3),
    Dedup(hash="pdq", pdq_radius=4, survivor=("caption",)),
    Dedup(hash="both", phash_radius=3, pdq_radius=4, survivor=("rank", "pixels"), turns=True),
    Dedup(hash="phash", phash_radius=2, clusters="components"),
    Dedup(hash="both", phash_radius=3, pdq_radius=4, clusters="components", max_distance=6),
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.hash}-{stage.clusters}-{stage.max_distance}")
@settings(max_examples=12, deadline=None)
@given(images=chained_images())
def test_survivors_are_those_of_the_rule(
    stage: Dedup, images: list[Image], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who goes, for whom and how far: as comparing all with all says, for every rule."""
    rows = rows_of(images)
    tables = dedup(tmp_path_factory.mktemp("run"), rows, stage)
    gone = {rows[i].key: (rows[owner].key, distance) for i, (owner, distance) in expected(rows, stage).items()}
    found = tables["duplicates"].to_pylist()
    assert {row["key"]: (row["survivor"], row["distance"]) for row in found} == gone
    assert tables["kept"]["key"].to_pylist() == [row.key for row in rows if row.key not in gone]
    details = dict(zip(tables["rejects"]["key"].to_pylist(), tables["rejects"]["detail"].to_pylist(), strict=True))
    assert details == {key: f"{survivor}, {distance} bits" for key, (survivor, distance) in gone.items()}
