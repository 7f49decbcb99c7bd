"""Every scenario, in the order in which they are measured.

scenarios.json describes them with the fields of `Scenario`; `measure` is a function of a module here.
"""

from __future__ import annotations

import json
from pathlib import Path

from scenario import Plot, Ratio, Scenario, Slope

from . import building, faults, footprint, gateway, growth, page, stats

MODULES = {
    module.__name__.rpartition(".")[2]: module for module in (building, faults, footprint, gateway, growth, page, stats)
}


def described(name: str, fields: dict) -> Scenario:
    """A scenario of scenarios.json."""
    module, _, function = fields["measure"].partition(".")
    parts = {
        field: tuple(kind(**each) for each in fields.get(field, ()))
        for field, kind in (("ratios", Ratio), ("plots", Plot), ("slopes", Slope))
    }
    return Scenario(**{**fields, **parts, "name": name, "measure": getattr(MODULES[module], function)})


BY_NAME = {
    name: described(name, fields)
    for name, fields in json.loads(Path(__file__).with_name("scenarios.json").read_text(encoding="utf-8")).items()
}
ALL = tuple(BY_NAME.values())
