"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from hypothesis import strategies as st

captions = st.text(max_size=200)
"""Any text that Python can hold, lone surrogates left out as UTF-8 has none."""

words = st.text(alphabet=st.characters(categories=("L", "N", "M")), min_size=1, max_size=12)
keys = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
