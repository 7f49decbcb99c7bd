"""Every public suite, in the order of the report."""

from __future__ import annotations

from . import cache_tests, garden, h1spec, h2spec, trace_context
from .suite import Suite

ALL: tuple[Suite, ...] = (h2spec.SUITE, h1spec.SUITE, garden.SUITE, cache_tests.SUITE, trace_context.SUITE)
