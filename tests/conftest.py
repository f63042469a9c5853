"""What all tests share: Hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A case compiles C: wall-clock limits would only measure the machine.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("dev", **_COMMON)
settings.register_profile("ci", derandomize=True, database=None, print_blob=True, **_COMMON)
settings.register_profile("nightly", max_examples=2000, print_blob=True, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
