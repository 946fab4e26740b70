"""Ablations of the game of fusion and segmentation; what a row is, is read from the block of its model."""

from collections.abc import Mapping

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.roles import DIRECT, DISJOINT, GAME, JOINT, Role, of_kind, roles
from diffufuse.report.tables.fusion_segmentation import by_region, differences, scores

TERMS = ("decomposition", "gradient")
BASELINE = "disjoint baseline"
NOTHING = "The study has no variant of the game of fusion and segmentation."
COLUMNS = ("inner steps", *TERMS, "anchor")


def fusion_ablation(evidence: Evidence) -> pd.DataFrame:
    """The game without each of its parts, and its controls, under `clean`.

    Returns:
        Text: one row per dataset and variant, with the follower's steps for one of the leader and the weights of the
        fusion loss; Dice and IoU of each region; and the paired difference of the Dice to the full game. A one-row
        note if the study has no game.
    """
    found = roles(evidence)
    full = full_game(evidence, found)
    if full is None:
        return cells.sentence(NOTHING)
    variants = {name: text for name in found if (text := variant(found, name, full))}
    order = sorted(variants, key=lambda name: _place(found, name, full))
    if len(order) < 2:
        return cells.sentence(NOTHING)
    values = by_region(evidence, order)
    rows = []
    for _, of_dataset in values.groupby("dataset", sort=False):
        tested = set(of_dataset["model"])
        rows += [
            {"dataset": str(of_dataset.iloc[0]["dataset"]), "variant": variants[name], "model": name}
            | _settings(found[name], found)
            | scores(of_dataset, name, evidence)
            | differences(of_dataset, name, full, "the full game", evidence)
            for name in order
            if name in tested
        ]
    return pd.DataFrame(rows).fillna("") if rows else cells.sentence(NOTHING)


def full_game(evidence: Evidence, found: Mapping[str, Role]) -> str | None:
    """The game with all its terms: `compare_with` if it is one, else the first."""
    games = of_kind(found, GAME)
    whole = [name for name in games if all(found[name].weights.get(term) for term in TERMS)]
    return next((name for name in [evidence.compare_with, *whole, *games] if name in games), None)


def variant(found: Mapping[str, Role], name: str, full: str) -> str:
    """What a model is against the full game; empty for one that is no variant of it.

    A pipeline is the baseline if its fuser is trained without masks by the same losses; single modalities and the
    follower on several channels are controls.
    """
    role, whole = found[name], found[full]
    if role.kind == DISJOINT:
        fuser = found.get(role.fuser or "")
        return BASELINE if fuser and fuser.weights == whole.weights else ""
    if role.kind == DIRECT:
        return {1: f"{' '.join(role.modalities)} alone", 2: "two channels"}.get(len(role.modalities), "")
    if role.kind not in (GAME, JOINT):
        return ""
    parts = ["bi-level" if role.kind == GAME else "one loss for both"]
    parts += [term for term in TERMS if role.weights.get(term)]
    if role.kind == GAME and role.inner_steps != whole.inner_steps:
        parts.append(f"K = {role.inner_steps}")
    parts += ["min-max output"] if role.min_max and not whole.min_max else []
    parts += ["no anchor"] if whole.weights.get("anchor") and not role.weights.get("anchor") else []
    return ", ".join(parts)


def _place(found: Mapping[str, Role], name: str, full: str) -> tuple[int, int]:
    """Order of the rows: baseline, then games by their terms, the full one, its settings, one loss, controls."""
    role = found[name]
    kinds = {DISJOINT: 0, GAME: 1, JOINT: 3, DIRECT: 4}
    terms = sum(bool(role.weights.get(term)) for term in TERMS)
    plain = role.kind == GAME and terms == len(TERMS) and name != full
    return (2 if plain else kinds[role.kind], terms)


def _settings(role: Role, found: Mapping[str, Role]) -> dict[str, str]:
    weights = role.weights or (found[role.fuser].weights if role.fuser and role.fuser in found else {})
    inner = str(role.inner_steps) if role.inner_steps else ""
    return {"inner steps": inner} | {term: f"{weights.get(term, 0):g}" if weights else "" for term in COLUMNS[1:]}
