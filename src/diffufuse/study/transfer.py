"""What two datasets have in common, so that a model trained on one can be tested on the other; or why it cannot."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Blocks: TypeAlias = Mapping[str, Mapping[str, Any]]


def refusal(trained_block: Mapping[str, Any], tested_block: Mapping[str, Any]) -> str | None:
    """Why a model trained on one dataset says nothing about another.

    What can be compared is one binary region, the lesion, seen in at least one modality that both datasets have. A
    score of a sarcoma's model against thirteen organs, or of a model of CT on MR alone, would be a number without
    a meaning.

    Args:
        trained_block: of `config/datasets.yaml`; `lesion` or `no_lesion`, and `modalities` are read.
        tested_block: likewise.

    Returns:
        A sentence for the reader of a table; None where the pair can be scored.
    """
    if "no_lesion" in tested_block:
        return str(tested_block["no_lesion"])
    if "no_lesion" in trained_block:
        return f"The model learned no lesion. {trained_block['no_lesion']}"
    if not shared_modalities(trained_block["modalities"], tested_block["modalities"]):
        learned, found = (", ".join(block["modalities"]) for block in (trained_block, tested_block))
        return f"No modality is shared: the model learned from {learned}, the cases have {found}."
    return None


def shared_modalities(trained: Blocks, tested: Blocks) -> dict[str, str]:
    """Which image of the tested dataset stands for which of the trained one.

    The one of the same name; where there is none, the first that says by `like` that its contrast is the same. Both
    must be of the same kind.

    Args:
        trained: modality to its block of `config/datasets.yaml`, of the dataset that was trained on.
        tested: likewise, of the dataset that is tested.

    Returns:
        The trained dataset's name to the tested dataset's, in the trained dataset's order; without those for which
        nothing stands.
    """
    found = {name: _alike(name, block["kind"], tested) for name, block in trained.items()}
    return {name: names[0] for name, names in found.items() if names}


def _alike(name: str, kind: str, tested: Blocks) -> list[str]:
    """Modalities that show what `name` shows, one of the same name first."""
    names = [other for other, block in tested.items() if block["kind"] == kind and name in (other, block.get("like"))]
    return sorted(names, key=lambda other: other != name)
