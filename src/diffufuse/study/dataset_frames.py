"""Check what a dataset's block says of the frames of reference of its images and contours."""

from collections.abc import Mapping
from typing import Any

from diffufuse.errors import BadInput


def check_frames(place: str, block: Mapping[str, Any]) -> None:
    """Check what a block says of frames.

    Args:
        place: of the block in the configuration, for messages.
        block: its `follows` and `drawn_on` name modalities.

    Raises:
        BadInput: contours are drawn on a modality that is registered to the reference, so that they would lie beside
            it; or `aligned` stands where nothing follows.
    """
    modalities, annotation, reference = block["modalities"], block["annotation"], block["reference"]
    for name, settings in modalities.items():
        if "aligned" in settings and "follows" not in settings:
            raise BadInput(
                f"{place}.modalities.{name}.aligned: expected it beside `follows`, whose truth it explains; name the "
                "modality that this one follows, or leave it out."
            )
    drawn_on = annotation.get("drawn_on", reference)
    on_reference = {reference, *_followed(reference, modalities)}
    if drawn_on not in on_reference and reference not in _followed(drawn_on, modalities):
        raise BadInput(
            f"{place}.annotation.drawn_on: expected {reference}, the reference, or a modality in its frame, got "
            f"{drawn_on}, which is registered to it, so that its contours would lie beside it; set `reference` to "
            f"{drawn_on}, or let {drawn_on} follow {reference} if they have one frame."
        )


def _followed(name: str, modalities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the modalities that one follows, directly or by another."""
    chain: list[str] = []
    while (name := modalities.get(name, {}).get("follows", "")) and name not in chain:
        chain.append(name)
    return chain
