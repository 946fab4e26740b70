"""Training curves, and measured costs for the record of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

# One row per step and quantity.
HISTORY = pa.schema([("step", pa.int32()), ("quantity", pa.string()), ("value", pa.float64()), ("unit", pa.string())])
CURVE_EVERY_STEPS = 10
# Units of the quantities that have one.
UNITS = {"validation_psnr": "dB", "delta_levels": "level", "registration_error": "pixel", "warp_size": "pixel"}


def with_units(values: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """Quantity → value and unit, for `History.add`."""
    return {name: (value, UNITS.get(name, "1")) for name, value in values.items()}


@dataclass
class History:
    """Training curves, one row per step and quantity, and measured costs.

    Attributes:
        follow: callback for the new values of a step, for live curves.
        rows: (step, quantity, value, unit).
        resumed_at_steps: the steps after which the training was interrupted.
        facts: measured costs of the training.
    """

    follow: Callable[[int, dict[str, float]], None]
    rows: list[tuple[int, str, float, str]] = field(default_factory=list)
    resumed_at_steps: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, tuple[float, str]]) -> None:
        """Add the values of a step, quantity → (value, unit)."""
        self.rows += [(step, quantity, float(value), unit) for quantity, (value, unit) in values.items()]
        self.follow(step, {quantity: float(value) for quantity, (value, _) in values.items()})

    def frame(self) -> pd.DataFrame:
        """All rows, columns as in `HISTORY`."""
        return pd.DataFrame(self.rows, columns=["step", "quantity", "value", "unit"])

    def state_dict(self) -> dict[str, Any]:
        """The curves so far."""
        return {"rows": self.rows, "resumed_at_steps": self.resumed_at_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore earlier curves and pass them to `follow` again."""
        self.rows, self.resumed_at_steps = state_dict["rows"], state_dict["resumed_at_steps"]
        shown: dict[int, dict[str, float]] = {}
        for step, quantity, value, _ in self.rows:
            shown.setdefault(step, {})[quantity] = value
        for step, values in shown.items():
            self.follow(step, values)
