"""Write tables as CSV, Markdown, HTML and LaTeX."""

import html
import os
import re
from collections.abc import Iterable

import pandas as pd

from diffufuse.files.atomic import atomic_path
from diffufuse.report.cells import MARK

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 13px/1.5 system-ui, sans-serif; color: #222; margin: 1.5em; overflow-x: auto; }}
table {{ border-collapse: collapse; white-space: nowrap; }}
th, td {{ padding: .35em .8em .35em 0; text-align: left; border-bottom: 1px solid #ddd; }}
th {{ border-bottom: 2px solid #222; }}
p {{ max-width: 60em; }}
</style></head>
<body><h1>{title}</h1>
{table}
<p>{note}</p>
</body></html>
"""

LATEX = r"""% Needs \usepackage{{booktabs,longtable}}.
{{\scriptsize
\setlength{{\tabcolsep}}{{3pt}}
\begin{{longtable}}{{{columns}}}
\caption{{{caption}}} \\
\toprule
{head} \\
\midrule
\endfirsthead
\toprule
{head} \\
\midrule
\endhead
{rows} \\
\bottomrule
\end{{longtable}}
{note}\par}}
"""
MARKED = re.compile(rf"{re.escape(MARK)}(.+?){re.escape(MARK)}")
ESCAPED = {
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "[": "{[}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def unmarked(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of text without the marks of cells that stand out, for readers that compute."""
    return frame.map(lambda cell: MARKED.sub(r"\1", cell) if isinstance(cell, str) else cell)


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV, atomically; undefined is an empty cell."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n")


def write_markdown(frame: pd.DataFrame, path: str | os.PathLike[str], *, note: str = "") -> None:
    """Write a table as Markdown, atomically.

    Args:
        frame: cells as text.
        path: ends in `.md`.
        note: a paragraph below the table: license, meaning of the intervals.
    """
    write_text(f"{markdown(frame)}\n" + (f"\n{note}\n" if note else ""), path)


def markdown(frame: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    return frame.to_markdown(index=False, disable_numparse=True)


def write_html(frame: pd.DataFrame, path: str | os.PathLike[str], *, title: str, note: str = "") -> None:
    """Write a table as a standalone HTML page, atomically.

    Args:
        frame: cells as text.
        path: ends in `.html`.
        title: the page's title and heading.
        note: a paragraph below the table.
    """
    rows = MARKED.sub(r"<b>\1</b>", frame.to_html(index=False, border=0))
    write_text(PAGE.format(title=title, table=rows, note=html.escape(note)), path)


def write_latex(frame: pd.DataFrame, path: str | os.PathLike[str], *, caption: str, note: str = "") -> None:
    """Write a table as LaTeX, atomically: a longtable with booktabs rules.

    Args:
        frame: cells as text; special characters are escaped.
        path: ends in `.tex`.
        caption: the table's caption.
        note: a paragraph below the table.
    """
    text = LATEX.format(
        columns="l" * frame.shape[1],
        caption=escaped(caption),
        head=_latex_row(frame.columns),
        rows=" \\\\\n".join(_latex_row(row) for row in frame.itertuples(index=False)),
        note=escaped(note),
    )
    write_text(text, path)


def escaped(text: str) -> str:
    """Text escaped for LaTeX; a hyphen before a number becomes a minus."""
    safe = "".join(ESCAPED.get(sign, sign) for sign in text)
    return re.sub(r"(?<![\w.)])-(?=\d)", "$-$", safe)


def _latex_row(values: Iterable[object]) -> str:
    return " & ".join(MARKED.sub(r"\\textbf{\1}", escaped(str(value))) for value in values)


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write text, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text)
