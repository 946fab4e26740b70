"""Which members of the library's registries a job uses, so that the others do not count as its code."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffufuse.study.code_digest import Members

if TYPE_CHECKING:
    from diffufuse.study.study import Study

MODELS = "diffufuse.models.MODELS"
REGIMENS = "diffufuse.train.regimens.REGIMENS"
CORRUPTIONS = "diffufuse.conditions.corruptions.CORRUPTIONS"
REMOVALS = "diffufuse.conditions.corruptions.REMOVALS"
SOURCES = "diffufuse.fetch.sources.SOURCES"
FORMATS = "diffufuse.ingest.formats.FORMATS"
FIGURES = "diffufuse.report.figures.FIGURES"
TABLES = "diffufuse.report.tables.TABLES"
PICTURES = "diffufuse.report.pictures.PICTURES"
JOINED = "diffufuse.report.joined.JOINED"
REGISTRIES = (MODELS, REGIMENS, CORRUPTIONS, REMOVALS, SOURCES, FORMATS, FIGURES, TABLES, PICTURES, JOINED)


def members_of(study: "Study", wildcards: Any) -> Members:
    """The members that a job's wildcards name, directly or by a block of a catalogue.

    Args:
        study: gives the catalogues.
        wildcards: of the job.

    Returns:
        Every registry of the library to its keys that count; None, for all, where no wildcard chooses.
    """
    fields = dict(wildcards.items())
    members: dict[str, Sequence[str] | None] = dict.fromkeys(REGISTRIES)
    members[TABLES] = study.config["study"]["tables"]
    named = {FIGURES: "figure", TABLES: "table", PICTURES: "picture", JOINED: "joined"}
    members |= {registry: [fields[field]] for registry, field in named.items() if field in fields}
    if "dataset" in fields:
        block = study.config["datasets"][fields["dataset"]]
        members |= {SOURCES: [block["source"]["kind"]], FORMATS: [block["format"]]}
    if "model" in fields:
        block = study.config["models"][study.trained_as(fields["model"])]
        members |= {MODELS: [block["architecture"]], REGIMENS: [block["training"]["regimen"]]}
    corruptions = [block["corruption"] for block in _conditions(study, fields) if "corruption" in block]
    return members | {CORRUPTIONS: corruptions, REMOVALS: corruptions}


def _conditions(study: "Study", fields: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The blocks of the conditions that a job applies: of a test, of a picture, or of a training."""
    catalogue = study.config["conditions"]
    if "condition" in fields:
        names = [fields["condition"]]
    elif fields.get("picture") == "conditions":
        names = [fields["subject"]]
    elif fields.get("picture") == "overlays":
        names = study.pictures.conditions(fields["subject"].partition("/")[0])
    elif "model" in fields:
        names = study.config["models"][study.trained_as(fields["model"])]["training"]["corruption"]["conditions"]
    else:
        names = []
    return [catalogue[name] for name in names]
