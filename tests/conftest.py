"""What all tests share: helpers whose assertions tell as much as those of tests, and one thread each.

Tests run side by side: linear algebra that takes every core for itself makes all of them slower.
"""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
pytest.register_assert_rewrite("tests.helpers")
