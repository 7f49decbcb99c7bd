"""Every public suite, in the order of the report."""

from __future__ import annotations

from . import cache_tests, garden
from .protocols import H1SPEC, H2SPEC, TRACE_CONTEXT
from .suite import Suite

ALL: tuple[Suite, ...] = (H2SPEC, H1SPEC, garden.SUITE, cache_tests.SUITE, TRACE_CONTEXT)
