"""Make docs/benchmarks.md from what the benchmarks kept in results/."""

from pathlib import Path

from compare import RESULTS, Row, met, read, shown

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `make bench`; do not edit. Ours and theirs run on the same input, in the same run, with the same number of
processes and one thread each. A time is the fastest of its repeats, with the median in brackets. A loss is reported
like a win, and a goal is met only where the outputs agree.
"""
TITLES = {
    "ingest": "Ingest of DICOM",
    "registration": "N4 and registration",
    "recovery": "Known shifts and turns recovered",
    "gate": "The gate behind registration",
    "registration_of_fusers": "What a fuser leaves of a known displacement",
    "patches": "Patches and slices of prepared cases",
    "cohort": "A cohort of 1,000 cases against one of 100",
    "whole_patient": "A whole patient, from images to logits",
    "models": "The method against baselines of its size",
    "workflow": "The workflow at scale",
    "metrics": "Metrics of masks and of probabilities",
    "fusion_metrics": "Metrics of fused images",
    "fusion_speed": "Fusing a pair, and a step of the game",
    "selective_scan": "Selective scans",
    "matr": "MATR by the weights of its authors",
    "sweep": "One patient under every condition",
}
VERDICTS = {True: "met", False: "**missed**", None: "no goal"}
AGREEMENT = {True: "agree", False: "**do not agree**", None: "not compared"}


def verdict(row: Row) -> str:
    """The goal and whether it is met, in words."""
    if not row.goal:
        return VERDICTS[None]
    quantity, sign, number = row.goal.split()
    relation = "at least" if sign == ">=" else "at most"
    unit = f" {row.unit}" if quantity == "ours" else "x" if sign == ">=" else ""
    return f"{relation} {number}{unit}: {VERDICTS[met(row)]}"


def value(least: float | None, median: float | None, unit: str) -> str:
    """A value with the median beside it."""
    median_text = f" ({shown(median)})" if median is not None else ""
    return f"{shown(least)}{median_text} {unit}" if least is not None else "-"


def cell(text: str) -> str:
    """Text that a table's cell can hold."""
    return text.replace("|", "/").replace("\n", " ")


def table(rows: list[Row]) -> list[str]:
    """Rows as a Markdown table, and what to know of each below it."""
    lines = ["| what | ours | theirs | ratio | goal | outputs |", "|---|---:|---:|---:|---|---|"]
    for row in rows:
        theirs = value(row.theirs, row.theirs_median, row.unit) + (f", {row.peer}" if row.peer else "")
        cells = [row.name, value(row.ours, row.ours_median, row.unit), theirs, shown(row.ratio), verdict(row)]
        lines.append("| " + " | ".join(map(cell, [*cells, AGREEMENT[row.agrees]])) + " |")
    notes = [". ".join(part for part in (row.what, row.how_agrees, row.notes) if part) for row in rows]
    return [
        *lines,
        "",
        *(f"- *{row.name}*: {text}; {row.repeats} repeats." for row, text in zip(rows, notes, strict=True)),
    ]


def section(path: Path) -> list[str]:
    """What one benchmark found, and on what."""
    rows = read(path)
    host = rows[0].machine
    versions = ", ".join(
        f"{name} {release}" for name, release in {"Python": host["python"], **host["versions"]}.items()
    )
    threads = ", ".join(f"{name}={count}" for name, count in host["threads"].items())
    return [
        f"## {TITLES.get(path.stem, path.stem.replace('_', ' ').capitalize())}",
        "",
        f"{rows[0].date}, commit {host['commit']}, {host['cpu']}, {host['cores']} cores, {host['ram_gib']} GiB, "
        f"load {host['load']} when it ended, {threads}; {versions}.",
        "",
        *table(rows),
        "",
    ]


def summary(rows: list[Row]) -> str:
    """How many goals are met, and which are not."""
    judged = [row for row in rows if row.goal]
    missed = [row.name for row in judged if not met(row)]
    counted = f"{len(judged) - len(missed)} of {len(judged)} goals are met."
    return counted + (f" Missed: {'; '.join(missed)}." if missed else "")


def main() -> None:
    """Write the page."""
    names = list(TITLES)
    order = {name: rank for rank, name in enumerate(names)}
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: (order.get(path.stem, len(names)), path.stem))
    rows = [row for path in paths for row in read(path)]
    body = [line for path in paths for line in section(path)]
    PAGE.write_text("\n".join([HEAD, summary(rows), "", *body]).rstrip() + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()
