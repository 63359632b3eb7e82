"""What every folder of tests shares."""

import os

import pytest
from hypothesis import settings

from tests.lab import Lab

settings.register_profile("large")
"""Longer runs of the property tests that know it, with other examples each time."""
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def lab() -> Lab:
    """Four validators of equal stake with default parameters."""
    return Lab()
