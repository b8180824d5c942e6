"""Unit tests compile dense networks quickly; production's compilation is met in tests/laws."""

import pytest


@pytest.fixture(autouse=True)
def _quick(request):
    """Quick compilation, unless the test asks for ``full_compile``."""
    if "full_compile" not in request.fixturenames:
        request.getfixturevalue("quick_compile")


@pytest.fixture
def full_compile():
    """Compile as a run does. Such a test needs networks of its own: compilations are kept by network."""
