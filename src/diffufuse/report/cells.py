"""Numbers as they stand in a table."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import pandas as pd

Row: TypeAlias = Mapping[Any, Any]
DECIMALS = {"1": (3, 2), "mm": (1, 1), "mL": (1, 1), "effect": (2, 2)}
LEAST_P = 0.001


def heading(metric: str, unit: str) -> str:
    """A metric with its unit."""
    return metric if unit == "1" else f"{metric} ({unit})"


def mean(row: Row | None) -> str:
    """A mean over patients with its interval, and with `n=` where some of them have no value.

    Args:
        row: of a frame in the schema `SUMMARY`; None is an empty cell.
    """
    if row is None:
        return ""
    if pd.isna(row["mean"]):
        return "undefined"
    point, ends = DECIMALS.get(row["unit"], (3, 3))
    text = _interval(fixed(row["mean"], point), row["mean_low"], row["mean_high"], ends)
    return f"{text} (n={row['patients'] - row['undefined']})" if row["undefined"] else text


def difference(value: float, unit: str, *, low: float = math.nan, high: float = math.nan) -> str:
    """A difference with its sign, `undefined` without one, and its interval if that is defined."""
    if math.isnan(value):
        return "undefined"
    point, _ = DECIMALS.get(unit, (3, 3))
    return _interval(fixed(value, point, sign="+"), low, high, point)


def fixed(value: float, decimals: int, *, sign: Literal["", "+"] = "") -> str:
    """A number with so many decimals; what rounds to zero has no minus."""
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"


def count(row: Row | None) -> str:
    """How many patients, from the mean of a metric that is 0 or 1; None is an empty cell."""
    return "" if row is None else three_digits(row["mean"] * row["patients"])


def three_digits(value: float) -> str:
    """Three significant digits, never in powers of ten; undefined is an empty cell."""
    return "" if math.isnan(value) else f"{float(f'{value:.3g}'):.10g}"


def probability(p: float) -> str:
    """A p-value with two significant digits, `refused` where it is undefined."""
    if math.isnan(p):
        return "refused"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:#.2g}"


def points(value: float) -> str:
    """A difference of Dice in points, hundredths, with its sign; undefined is an empty text."""
    return "" if math.isnan(value) else fixed(100 * value, 1, sign="+")


def plain(value: float, decimals: int, *, unknown: str = "undefined") -> str:
    """A number with so many decimals, or that it is not known."""
    return unknown if math.isnan(value) else fixed(value, decimals)


def without_empty(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table without those of the columns in which nothing stands."""
    empty = [name for name in columns if name in table and (table[name] == "").all()]
    return table.drop(columns=empty)


def sentence(text: str) -> pd.DataFrame:
    """A table that says in one row why it has no others."""
    return pd.DataFrame([{"note": text}])


def _interval(text: str, low: float, high: float, decimals: int) -> str:
    return text if math.isnan(low) else f"{text} [{fixed(low, decimals)}, {fixed(high, decimals)}]"
