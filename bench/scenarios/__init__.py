"""Every scenario, in the order in which they are measured."""

from __future__ import annotations

from scenario import Scenario

from . import building, faults, footprint, gateway, growth, page, stats

ALL: tuple[Scenario, ...] = (
    *footprint.SCENARIOS,
    *stats.SCENARIOS,
    *page.SCENARIOS,
    *gateway.SCENARIOS,
    *faults.SCENARIOS,
    *growth.SCENARIOS,
    *building.SCENARIOS,
    footprint.PRICE,
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
