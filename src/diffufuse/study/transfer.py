"""Whether a model trained on one dataset can be tested on another, and the modalities that both share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Blocks: TypeAlias = Mapping[str, Mapping[str, Any]]


def refusal(trained_block: Mapping[str, Any], tested_block: Mapping[str, Any], *, task: str = "segment") -> str | None:
    """The reason why a model trained on one dataset cannot be tested on another.

    A transfer of a segmenter needs one binary region, the lesion, and at least one modality that both datasets have. A
    score of a sarcoma model on thirteen organs, or of a CT model on MR alone, would be meaningless. A fuser needs two
    images, of which both datasets say which is the structure and which the function.

    Args:
        trained_block: of `config/datasets.yaml`; `lesion` or `no_lesion`, `modalities` and `pair` are read.
        tested_block: likewise.
        task: of the model, `segment` or `fuse`.

    Returns:
        A note for a table; None if the pair can be scored.
    """
    if task == "fuse":
        both = "pair" in trained_block and "pair" in tested_block
        return None if both else "No pair: a fuser needs a structure and a function in both."
    if "regions" not in tested_block or "regions" not in trained_block:
        return "No labels: pairs of images are fused, not segmented."
    if "no_lesion" in tested_block:
        return str(tested_block["no_lesion"])
    if "no_lesion" in trained_block:
        return f"The model learned no lesion. {trained_block['no_lesion']}"
    if not shared_modalities(trained_block["modalities"], tested_block["modalities"]):
        trained_on, tested_on = (", ".join(block["modalities"]) for block in (trained_block, tested_block))
        return f"No modality is shared: the model learned from {trained_on}, the cases have {tested_on}."
    return None


def shared_modalities(trained: Blocks, tested: Blocks) -> dict[str, str]:
    """Match the modalities of the training dataset with those of the test dataset.

    By name; otherwise the first whose `like` names the modality with the same contrast. Both must be of the same kind.

    Args:
        trained: modality to its block of `config/datasets.yaml`, of the dataset that was trained on.
        tested: likewise, of the dataset that is tested.

    Returns:
        Name in the training dataset → name in the test dataset, in the order of the former, without unmatched ones.
    """
    matches = {name: _alike(name, block["kind"], tested) for name, block in trained.items()}
    return {name: names[0] for name, names in matches.items() if names}


def _alike(name: str, kind: str, tested: Blocks) -> list[str]:
    """Modalities that match `name`, one of the same name first."""
    names = [other for other, block in tested.items() if block["kind"] == kind and name in (other, block.get("like"))]
    return sorted(names, key=lambda other: other != name)
