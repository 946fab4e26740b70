"""Fused images that others published, scored as ours are: writes config/published_images.tsv, which the reports read.

The images are those of a mirror, `--mirror` or $DIFFUFUSE_MIRROR, which is beside the repository by default; none of
them enters the repository. BSAFusion was released with its sources, of which the second is the aligned one. Of DM-FNet
there are JPEG files without sources, which are matched to the pairs of the atlas that the mirror has. A minute.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from diffufuse.evaluate.published import matched, published_scores, read_images, read_named, read_pair
from diffufuse.ingest.formats.pairs import find_pairs
from diffufuse.report.published import Release, write_published
from diffufuse.study.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
SHEET = ROOT / "config" / "published_images.tsv"
DATASETS = {"PET": "harvard_pet_mri", "SPECT": "harvard_spect_mri", "CT": "harvard_ct_mri"}
BSAFUSION = (
    "The pairs are those that were released with the images (Li et al., AAAI 2025, arXiv:2412.08050; "
    "github.com/slrl123/BSAFusion at c982182). The network was given sources that were not aligned, and is scored "
    "against the aligned ones, which its controls fuse: that costs it."
)
DMFNET = (
    "JPEG files without sources (github.com/HeDan-11/DM-FNet at c1b14b8), matched to pairs of the mirror by a "
    "correlation with the maximum of both sources of at least 0.97, 0.01 above that of any other pair: {matchings}. "
    "What the compression costs is in the scores, and the network may have been trained on these pairs."
)
KINDS = tuple(DATASETS)
Scores = tuple[Release, pd.DataFrame]


def of_bsafusion(mirror: Path, kinds: Sequence[str] = KINDS) -> Iterator[Scores]:
    """The scores of BSAFusion's release, of each modality."""
    for kind in kinds:
        folder = mirror / "fused" / "bsafusion" / kind
        images, pairs = read_named(folder / "fused", folder / "MRI", folder / "other")
        yield Release(DATASETS[kind], "bsafusion", BSAFUSION), published_scores(images, pairs, model="bsafusion")


def of_dmfnet(mirror: Path, kinds: Sequence[str] = KINDS) -> Iterator[Scores]:
    """The scores of those images of DM-FNet's release whose pairs are known, of each modality."""
    found = {}
    for kind in kinds:
        block = read_yaml(ROOT / "config" / "datasets.yaml")["datasets"][DATASETS[kind]]
        files = find_pairs(mirror / block["source"]["mirror"], block)
        pairs = {name: read_pair(*both.values()) for name, both in files.items()}
        images = read_images(mirror / "fused" / "dmfnet" / f"MRI-{kind}")
        found[DATASETS[kind]] = (images, pairs, matched(images, pairs))
    matchings = ", ".join(f"{dataset} {matching}" for dataset, (_, _, matching) in found.items())
    for dataset, (images, pairs, matching) in found.items():
        own = {name: pairs[pair] for name, pair in matching.pairs.items()}
        release = Release(dataset, "dmfnet", DMFNET.format(matchings=matchings))
        yield release, published_scores({name: images[name] for name in own}, own, model="dmfnet")


def main() -> None:
    """Score all releases and keep the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("DIFFUFUSE_MIRROR", ROOT.parent / "shared" / "data"))
    parser.add_argument("--mirror", type=Path, default=default, help="the folder that has `fused` and `harvard`")
    mirror = parser.parse_args().mirror
    if not (mirror / "fused").is_dir():
        sys.exit(f"{mirror}: no published images there; nothing was scored")
    write_published(chain(of_bsafusion(mirror), of_dmfnet(mirror)), SHEET)
    print(f"written: {SHEET}")


if __name__ == "__main__":
    main()
