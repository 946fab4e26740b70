"""Formatting of numbers as table cells."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import pandas as pd

Row: TypeAlias = Mapping[Any, Any]
DECIMALS = {"1": (3, 2), "mm": (1, 1), "mL": (1, 1), "effect": (2, 2), "dB": (2, 2), "level": (2, 2)}
LEAST_P = 0.001
MARK = "**"


def heading(metric: str, unit: str) -> str:
    """Column heading: a metric with its unit."""
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


def marked(text: str) -> str:
    """A cell that stands out, as the best of its column; empty cells do not. `writing` shows it in bold type."""
    return f"{MARK}{text}{MARK}" if text else text


def difference(value: float, unit: str, *, low: float = math.nan, high: float = math.nan) -> str:
    """A signed difference, with its interval if defined; `undefined` for NaN."""
    if math.isnan(value):
        return "undefined"
    point, _ = DECIMALS.get(unit, (3, 3))
    return _interval(fixed(value, point, sign="+"), low, high, point)


def fixed(value: float, decimals: int, *, sign: Literal["", "+"] = "") -> str:
    """A number with a fixed number of decimals; zero has no minus sign."""
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"


def count(row: Row | None) -> str:
    """Number of patients, from the mean of a 0/1 metric over those who have a value; None is an empty cell."""
    if row is None:
        return ""
    defined = row["patients"] - row["undefined"]
    return three_digits(row["mean"] * defined) if defined else "0"


def three_digits(value: float) -> str:
    """Three significant digits, without exponent; NaN is an empty cell."""
    return "" if math.isnan(value) else f"{float(f'{value:.3g}'):.10g}"


def probability(p: float) -> str:
    """A p-value with two significant digits; `refused` for NaN."""
    if math.isnan(p):
        return "refused"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:#.2g}"


def points(value: float) -> str:
    """A signed difference of Dice in points (hundredths); NaN is an empty cell."""
    return "" if math.isnan(value) else fixed(100 * value, 1, sign="+")


def plain(value: float, decimals: int, *, unknown: str = "undefined") -> str:
    """A number with a fixed number of decimals; `unknown` for NaN."""
    return unknown if math.isnan(value) else fixed(value, decimals)


def without_empty(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table without those of the given columns that are empty."""
    empty = [name for name in columns if name in table and (table[name] == "").all()]
    return table.drop(columns=empty)


def sentence(text: str) -> pd.DataFrame:
    """A one-row table with a note, in place of an empty table."""
    return pd.DataFrame([{"note": text}])


def _interval(text: str, low: float, high: float, decimals: int) -> str:
    return text if math.isnan(low) else f"{text} [{fixed(low, decimals)}, {fixed(high, decimals)}]"
