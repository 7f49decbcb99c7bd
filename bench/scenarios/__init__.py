"""Every scenario, in the order in which they are measured."""

from __future__ import annotations

from scenario import Scenario

from . import building, faults, gateway, growth, page, stats, whole

ALL: tuple[Scenario, ...] = (
    *whole.SCENARIOS,
    *stats.SCENARIOS,
    *page.SCENARIOS,
    *gateway.SCENARIOS,
    *faults.SCENARIOS,
    *growth.SCENARIOS,
    *building.SCENARIOS,
    whole.PRICE,
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
