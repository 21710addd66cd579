"""What the tests with generated cases share."""

import pytest

hypothesis = pytest.importorskip("hypothesis")


def examples(number):
    """Settings under which every run tries the same cases."""
    return hypothesis.settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
