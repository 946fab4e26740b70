"""A standalone HTML page with the configuration of a study and the code versions of its runs."""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; color: #222; margin: 1.5em auto; max-width: 60em; padding: 0 1em; }}
pre {{ background: #f6f6f6; padding: .8em; overflow-x: auto; font-size: 12px; }}
</style></head>
<body><h1>{title}</h1>
<p>Code of the trainings: diffufuse, commit {commits}.</p>
<h2>Configuration</h2>
{blocks}
</body></html>
"""


def study_page(study: Mapping[str, Any], context: Mapping[str, Any], *, commits: Iterable[str]) -> str:
    """The page as HTML.

    Args:
        study: the study's block of the configuration.
        context: `datasets`, `conditions` and `models`, name → block; licenses and citations are on the start page of
            the report.
        commits: of the training code.
    """
    parts = {"study": study} | {part: context[part] for part in ("datasets", "conditions", "models")}
    blocks = "\n".join(f"<h3>{name}</h3>\n<pre>{html.escape(_text(block))}</pre>" for name, block in parts.items())
    title = f"The study {study['name']}"
    return PAGE.format(title=html.escape(title), commits=html.escape(", ".join(commits)), blocks=blocks)


def _text(block: Mapping[str, Any]) -> str:
    """One line per setting, with dotted keys, so that two studies can be compared line by line."""
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _lines(block))


def _lines(block: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key, value in block.items():
        nested = isinstance(value, Mapping) and bool(value)
        lines += _lines(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return lines
