"""The mark of tests that compile."""

import pytest

from air.acceleration.compiling import missing_for_compiling

needs_a_compiler = pytest.mark.skipif(
    missing_for_compiling() is not None, reason=f"needs {missing_for_compiling()}"
)
