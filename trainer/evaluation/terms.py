"""Words by which results are written and read again: protocols, and the classifiers that robustness is measured of."""

from __future__ import annotations

from typing import Final

ZERO_SHOT: Final = "zero_shot"
LINEAR_PROBE: Final = "linear_probe"
FEW_SHOT: Final = "few_shot"
"""The protocols of `wit evaluate`; those of `wit evaluate-protocol` have names of their own."""

OWN_NAMES: Final = "own_names"
ADAPTED: Final = "adapted"
CLASSIFIERS: Final = {ZERO_SHOT: "zero-shot", OWN_NAMES: "own names", ADAPTED: "adapted"}
"""Of a set of shift, and how they are called where they are shown."""
ROBUSTNESS: Final = "robustness.json"
"""Among the results, what `wit evaluate-robustness` found."""

HARMFUL: Final = "share of faces with a harmful label"
GENDERED: Final = "share of labels that differ"
NO_MERITS: Final = frozenset((HARMFUL, GENDERED))
"""Metrics of which more is not better: no checkpoint is the best by them."""
