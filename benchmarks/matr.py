"""MATR by the weights that its authors released, against the three fused images that they released with them.

How they made these was found out, not read: the network sees the luma of the function, rounded to whole gray levels,
and the structure, both over 255; its image is cut off, not rounded, to whole gray levels; and the chroma of the
function is put back as it is. Cut off without bounds, a negative pixel would turn white; these images have none.
"""

from pathlib import Path

import numpy as np
import torch
from compare import Row, write
from safetensors.torch import load_file
from torch import Tensor

from diffufuse.models.matr import MATR
from diffufuse.pixels.color import luma_and_chroma, recombined
from diffufuse.pixels.image_file import read_picture

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "fused" / "matr"
PAIRS = {"PET-MRI": ("MRI", "PET"), "SPECT-MRI": ("MRI", "SPECT"), "GFP-PC": ("PCI", "GFP")}
WHITE = 255
# Their names and ours, of a network's part and within it.
PARTS = {"convInput": "stem", "conv": "layer", "basicLayer": "transformer", "convolutional_out": "head"}
WITHIN = {"conv1": "conv", "bn1": "norm", "ce": "encode", "ci": "mix", "gd": "of_input", "gd2": "of_output"} | {
    **{"ce_bn": "norm_input", "ci_bn2": "norm_mixed", "ci_bn": "norm_output", "fc1": "linear1", "fc2": "linear2"},
    **{"running_mean": "mean", "running_var": "variance"},
}
WHOLE = {
    "stem.conv.weight": "stem.conv.kernel",
    "layer.conv.weight": "layer.conv.kernel",
    "head.conv.weight": "head.weight",
}
# A layer that is built there and never applied; and how many batches there were, which we do not count.
UNUSED, COUNTS = "patch_embed.", "num_batches_tracked"
MOMENTS = ("mean", "variance")
# Of the first layer, the axis along which its input channels lie: the function is their first image, and our second.
INPUT_AXES = {"kernel": 1, "mix": 1, "norm_input": 0, "norm_mixed": 0}


def ours_of(released: dict[str, Tensor], *, places: int) -> dict[str, Tensor]:
    """The released weights under the names of our network, for a pair of structure and function in this order.

    Args:
        released: theirs, by name.
        places: at how many the shared layer has moments of its own: they had the same at all.
    """
    named = {}
    for name, weight in released.items():
        if name.startswith(UNUSED) or name.endswith(COUNTS):
            continue
        ours = renamed(name)
        part, within = ours.partition(".")[0], ours.split(".")
        if part == "stem" and (axis := INPUT_AXES.get(within[2])) is not None:
            weight = weight.flip(axis)
        if within[-1] in MOMENTS:
            weight = weight.expand(places if part == "layer" else 1, -1)
        named[ours] = weight
    return named


def renamed(name: str) -> str:
    """Our name of a released weight."""
    part, *within = name.split(".")
    ours = ".".join([PARTS[part], *(WITHIN.get(each, each) for each in within)])
    return WHOLE.get(ours, ours)


def released_network(*, literal: bool = True) -> MATR:
    """Our network with the released weights; every one of its own has a value."""
    network = MATR(modalities=2, outputs=1, literal=literal).eval()
    network.load_state_dict(ours_of(load_file(DATA / "weights.safetensors"), places=network.places))
    return network


def whole_levels(image: np.ndarray) -> np.ndarray:
    """Gray levels in 0..1, as a file of 8 bits holds them."""
    return np.rint(WHITE * image) / WHITE


def gray(image: np.ndarray) -> np.ndarray:
    """Luma in 0..1 of a picture, gray or in color."""
    return image if image.ndim == len("xy") else luma_and_chroma(image)[0]


def fused_of(network: MATR, pair: str) -> tuple[np.ndarray, np.ndarray]:
    """The fused image of a released pair before it is cut off, in gray levels, and in color, of 8 bits."""
    structure, function = (read_picture(DATA / "sources" / pair / f"{name}.bmp") for name in PAIRS[pair])
    _, cb, cr = luma_and_chroma(function)
    sources = np.stack([whole_levels(gray(structure)), whole_levels(gray(function))]).astype(np.float32)
    with torch.inference_mode():
        luma = WHITE * network.fuse_pair(torch.from_numpy(sources)[None]).fused[0, 0, ..., 0].numpy()
    return luma, np.rint(WHITE * recombined(np.floor(luma) / WHITE, cb, cr))


def differences(network: MATR, pair: str) -> np.ndarray:
    """Distance of every pixel and color from the released image, in gray levels."""
    return np.abs(fused_of(network, pair)[1] - WHITE * read_picture(DATA / "fused" / f"{pair}.bmp"))


def row(pair: str) -> Row:
    """How far ours is from one released image, and how far it is without their order of features in memory."""
    levels, sound = (differences(released_network(literal=literal), pair) for literal in (True, False))
    luma, _ = fused_of(released_network(), pair)
    from_whole = np.abs(luma - np.rint(luma))[levels.all(axis=2)].max()
    return Row(
        f"MATR, {pair}",
        "largest difference from the released fused image, over all pixels and colors",
        float(levels.max()),
        "gray levels",
        goal="ours <= 1",
        notes=f"mean difference {levels.mean():.3f}; {100 * (levels > 0).mean():.2f} % of the values differ. Where all "
        f"three colors do, the image is {from_whole:.2f} or less from a whole gray level. {(luma < 0).sum()} pixels "
        "are below black. With the features in their right order and the same weights: largest difference "
        f"{sound.max():.0f}, mean {sound.mean():.2f}",
    )


def main() -> None:
    """Compare all pairs, where they are at hand."""
    if not DATA.is_dir():
        print("no released images: ../shared/data is absent")
        return
    torch.set_num_threads(1)
    write("matr", [row(pair) for pair in PAIRS], packages=["torch", "monai", "safetensors"])


if __name__ == "__main__":
    main()
