"""What every folder of tests shares."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.lab import Lab

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No test depends on how fast the machine is at the moment."""
settings.register_profile("large", deadline=None)
"""Longer runs of the property tests that know it, with other examples each time."""
settings.register_profile(
    "mutants",
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
)
"""That a test fails is all that is asked: not how small the example can be made."""
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def lab() -> Lab:
    """Four validators of equal stake with default parameters."""
    return Lab()
