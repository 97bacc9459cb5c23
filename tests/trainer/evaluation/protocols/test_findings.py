from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainer.evaluation.protocols.findings import (
    Finding,
    Share,
    require_rows,
    shares_by,
    similarities,
)
from wit.errors import InputError


def test_shares_and_intervals() -> None:
    """Shares by group count as naive loops do, in the order asked for; the interval is scipy's exact one."""
    rng = np.random.default_rng(0)
    hits, groups = rng.random(200) < 0.3, rng.choice(["b", "a", "c"], 200).tolist()
    shares = shares_by(hits, groups, ("c", "x"))
    assert [share.group for share in shares] == ["c", "a", "b"]
    for share in shares:
        own = [hit for hit, group in zip(hits, groups, strict=True) if group == share.group]
        assert (share.num_hits, share.num_items) == (sum(own), len(own))
        exact = stats.binomtest(share.num_hits, share.num_items).proportion_ci(0.95, "exact")
        assert share.interval == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert Share("none", 0, 0).value == 0


def test_result_has_the_form_of_all_results() -> None:
    """A result has the keys that pages and comparisons read, with a number from 0 to 1."""
    found = Finding("t", "p", "accuracy", Share("all", 3, 4), 2, 0.5).result()
    assert {key: found[key] for key in ("task", "protocol", "metric", "value", "num_items", "chance")} == {
        "task": "t", "protocol": "p", "metric": "accuracy", "value": 0.75, "num_items": 4, "chance": 0.5,
    }  # fmt: skip
    assert {"interval", "num_classes", "published", "by_class", "details"} < set(found)


def test_bad_embeddings_are_named() -> None:
    """Embeddings of two widths, with a NaN, or of another number are one clear line."""
    good = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="expected two tables of one width"):
        similarities(good, good[:, :2])
    bad = good.copy()
    bad[1, 2] = np.nan
    with pytest.raises(InputError, match="found another in row 1"):
        similarities(bad, good)
    with pytest.raises(InputError, match="expected 4 embeddings, found 3"):
        require_rows("images", 3, 4)
