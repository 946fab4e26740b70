"""What a model is in a study of fusion, read from its block: a fuser, a pipeline, a game, or a reader of raw images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffufuse.report.evidence import Evidence
from diffufuse.study.inputs import GAMES

DISJOINT, DIRECT, GAME, JOINT, FUSER = "disjoint pipeline", "direct", "game", "joint", "fuser"
LEARNED_WITH_MASKS = dict(zip(GAMES, (GAME, JOINT), strict=True))
# The terms of the game's fusion loss.
WEIGHTS = {"decomposition": 0.0, "gradient": 0.0, "anchor": 0.0}
MIN_MAX = "minmax"


@dataclass(frozen=True)
class Role:
    """What a model is in a study of fusion.

    Attributes:
        kind: a `fuser` makes images alone; a `disjoint pipeline` segments the images of a fuser; the `game` and its
            `joint` training make images and masks; `direct` segments the modalities themselves.
        fuser: the model whose fused images are scored for it: itself, that of its pipeline, or none.
        modalities: what it reads, by role or name; empty for all modalities of the dataset.
        weights: of the terms of the fusion loss; empty where there is none.
        inner_steps: of the follower for one step of the leader; 0 without a game.
        min_max: whether each image is stretched to 0..1 at the end, instead of a bounded head.
    """

    kind: str
    fuser: str | None
    modalities: tuple[str, ...]
    weights: Mapping[str, float]
    inner_steps: int
    min_max: bool


def role_of(models: Mapping[str, Mapping[str, Any]], name: str) -> Role:
    """The role of a model.

    Args:
        models: name to block of `config/models.yaml`.
        name: of the model; one that uses the weights of another has that one's role.
    """
    block = models[name]
    trained = models.get(block.get("weights_of", block.get("predictions_of", name)), block)
    block = {**trained, **block}
    reads, training = trained.get("input", {}), trained.get("training", {})
    regimen = training.get("regimen", "supervised")
    kind = LEARNED_WITH_MASKS.get(regimen, DIRECT)
    if trained.get("task") == "fuse":
        kind = FUSER
    elif "fuser" in reads:
        kind = DISJOINT
    own = name if kind in (GAME, JOINT, FUSER) else None
    fused = own or reads.get("fuser")
    learns = kind in (GAME, JOINT) or regimen in ("label_free", "two_stage", "registering")
    return Role(
        kind,
        fused,
        tuple(reads.get("modalities", ())),
        WEIGHTS | dict(training.get("fusion_loss", {})) if learns else {},
        int(training["game"]["inner_steps"]) if kind == GAME else 0,
        block.get("settings", {}).get("head") == MIN_MAX,
    )


def roles(evidence: Evidence) -> dict[str, Role]:
    """The role of every model of a study, in its order, without those that only scale probabilities."""
    return {
        name: role_of(evidence.models, name) for name, block in evidence.models.items() if "predictions_of" not in block
    }


def of_kind(found: Mapping[str, Role], *kinds: str) -> list[str]:
    """The models of these kinds, in the study's order."""
    return [name for name, role in found.items() if role.kind in kinds]


def controls(found: Mapping[str, Role], channels: int) -> list[str]:
    """The models that read so many modalities, named in their block and not fused: the controls of the bottleneck."""
    return [name for name in of_kind(found, DIRECT) if len(found[name].modalities) == channels]
