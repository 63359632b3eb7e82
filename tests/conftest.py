"""What every folder of tests shares."""

import pytest

from tests.lab import Lab


@pytest.fixture
def lab() -> Lab:
    """Four validators of equal stake with default parameters."""
    return Lab()
