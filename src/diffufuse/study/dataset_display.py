"""Whether a dataset's block says rightly what image fusion needs: the pair, the gray scales, and sets of pictures."""

from collections.abc import Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.inputs import ROLES

# What a block of pictures has no use for: they have no place, and nothing is labeled on them.
OF_VOLUMES = ("reference", "spacing_mm", "registration", "annotation", "labels", "regions", "lesion", "no_lesion")
OF_PICTURES = ("kind", "file", "display")
WHITES = ("white", "white_sd")
# What a phantom consists of, by the format of its files.
MADE = {"pairs": "pairs", "dicom": "patients"}
PICTURE = "picture"
# What a fused image is called among the images of a case, its files, and the regions of a table.
OF_FUSED_IMAGES = ("fused", "image")


def check_display(place: str, block: Mapping[str, Any]) -> None:
    """Check `pair` and the `display` of every modality.

    Args:
        place: of the dataset.
        block: of the dataset.

    Raises:
        BadInput: `pair` names no modality, one twice, or one without `display`; white is given twice, not at all, or
            not above black; or a modality or region has the name of a fused image, or of a role that it has not.
    """
    for name, settings in block["modalities"].items():
        display = settings.get("display", {})
        whites = [key for key in WHITES if key in display]
        if display and len(whites) != 1:
            raise BadInput(
                f"{place}.modalities.{name}.display: expected either of {' and '.join(WHITES)}, got "
                f"{'both' if whites else 'none'}; name one."
            )
        if "white" in display and not display["white"] > display["black"]:
            raise BadInput(
                f"{place}.modalities.{name}.display: expected white above black, got {display['white']} and "
                f"{display['black']}; correct one."
            )
    pair = block.get("pair", {})
    for role in pair:
        name = pair[role]
        if name not in block["modalities"]:
            raise BadInput(
                f"{place}.pair.{role}: {name!r} is not in {place}.modalities{instead(name, block['modalities'])}"
            )
        if "display" not in block["modalities"][name]:
            raise BadInput(
                f"{place}.pair.{role}: expected a modality with a gray scale to be fused on, but {name} has none; give "
                f"{place}.modalities.{name} its `display`."
            )
    if pair and pair["structure"] == pair["function"]:
        raise BadInput(f"{place}.pair: expected two modalities, got {pair['structure']} twice; correct one.")
    _check_names(place, block)


def _check_names(place: str, block: Mapping[str, Any]) -> None:
    """Check that no modality or region has a name that fusion uses for something else."""
    named = [(f"modalities.{name}", name) for name in block["modalities"]]
    named += [(f"regions.{name}", name) for name in block.get("regions", {})]
    for where, name in named:
        if name in OF_FUSED_IMAGES:
            raise BadInput(f"{place}.{where}: expected a name that no fused image has, got {name!r}; choose another.")
    for role in ROLES:
        if role in block["modalities"] and block.get("pair", {}).get(role) != role:
            raise BadInput(
                f"{place}.modalities.{role}: expected the {role} of {place}.pair, as a model asks for it by this "
                "name; name it there, or choose another name."
            )


def check_no_prefix(place: str, block: Mapping[str, Any]) -> None:
    """Check that a dataset of volumes has no `prefix`, which none of its readers reads.

    Raises:
        BadInput: it has.
    """
    if "prefix" in block:
        raise BadInput(
            f"{place}.prefix: expected a key that is read with format {block.get('format')}, got one that is read with "
            "pairs alone; leave it out, or correct the format."
        )


def check_pair_keys(place: str, block: Mapping[str, Any]) -> None:
    """Check that a set of pairs has no key of volumes.

    Raises:
        BadInput: it has one, or a modality is none of the pair, is not of kind picture, has a key of volumes, or a
            black or white that no gray level can be.
    """
    for key in OF_VOLUMES:
        if key in block:
            raise BadInput(
                f"{place}.{key}: expected a key that is read with format pairs, got one that is read of volumes alone; "
                "leave it out, or correct the format."
            )
    for name, settings in block["modalities"].items():
        if name not in block["pair"].values():
            raise BadInput(
                f"{place}.modalities.{name}: expected the two modalities of {place}.pair alone, as a pair has no other "
                "picture; leave it out, or name it there."
            )
        for key in settings:
            if key not in OF_PICTURES:
                raise BadInput(
                    f"{place}.modalities.{name}.{key}: expected one of {', '.join(OF_PICTURES)}, which are read with "
                    "format pairs; leave it out, or correct the format."
                )
        if settings["kind"] != PICTURE:
            raise BadInput(
                f"{place}.modalities.{name}.kind: expected {PICTURE} with format pairs, got {settings['kind']}, whose "
                "unit no picture has; correct it."
            )
        display = settings["display"]
        for key in {"black", "white"} & set(display):
            if not 0 <= display[key] <= 1:
                raise BadInput(
                    f"{place}.modalities.{name}.display.{key}: expected 0 to 1, as the gray levels of a picture are "
                    f"read, whatever its bits, got {display[key]}; correct it."
                )


def check_patterns_of_pair(place: str, block: Mapping[str, Any]) -> None:
    """Check that the patterns of the two modalities go together one by one.

    Raises:
        BadInput: one has more than the other.
    """
    names = [block["pair"][role] for role in ROLES]
    counts = [len(block["modalities"][name]["file"]) for name in names]
    if counts[0] != counts[1]:
        raise BadInput(
            f"{place}.modalities.{names[1]}.file: expected a pattern for each of the {counts[0]} of {names[0]}, in the "
            f"same order, as that is where the partners lie, got {counts[1]}; add or remove one."
        )


def check_phantom(place: str, block: Mapping[str, Any]) -> None:
    """Check that a phantom is made of what its format reads: patients as DICOM, pairs as pictures.

    Raises:
        BadInput: it is made of the other, of both or of none, or of another format.
    """
    source = block.get("source", {})
    if source.get("kind") != "phantom":
        return
    made, wanted = [key for key in source if key != "kind"], MADE.get(block.get("format", ""))
    if made != [wanted]:
        raise BadInput(
            f"{place}.source: expected {wanted or ' or '.join(MADE.values())} to be made for the format "
            f"{block.get('format')}, got {' and '.join(made) or 'none'}; correct the source, or the format."
        )
