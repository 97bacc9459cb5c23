"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A property is held to its claim, not to a clock: a shared machine stalls. CI draws the same examples each time.
settings.register_profile("wit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("wit")
