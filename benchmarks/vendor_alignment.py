"""How far our alignment of T1 to PET lies from the publisher's, for every patient of `sts` at hand.

Soft-tissue-Sarcoma holds, beside each T1, the publisher's copy of it resampled onto the PET (`Aligned_T1toPET_BOX`).
Where a point of that copy came from in the original T1 is found by registering the two, which show the same values;
ours is the transform that `prepare` kept. The reported value is the distance between the two inside the body: it shows
disagreement, not which one is right. Run `snakemake prepare --configfile config/sts.yaml` first.
"""

import argparse
from pathlib import Path

import numpy as np
from compare import Row, write

from diffufuse.dicom.choice import choose_series
from diffufuse.dicom.series import Series, find_series, read_series
from diffufuse.errors import BadInput
from diffufuse.prepare.body import foreground
from diffufuse.prepare.registration import read_transform, register
from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume

T1 = [{"Modality": "^MR$", "SeriesDescription": "t1", "without": {"SeriesDescription": "al+igned"}}]
ALIGNED_T1 = [{"Modality": "^MR$", "SeriesDescription": "al+igned_t1topet"}]
POINTS = 5000


def disagreement_mm(t1: Volume, aligned: Volume, ours: Transform) -> np.ndarray:
    """Distance between our place and the publisher's of points in the body, mm.

    Args:
        t1: the original, in its own frame.
        aligned: the publisher's copy, in the frame of the PET.
        ours: RAS mm of T1 to RAS mm of PET.
    """
    publisher = register(t1, aligned).transform  # RAS mm of PET to RAS mm of T1
    voxels = np.argwhere(foreground(t1))
    voxels = voxels[:: max(1, len(voxels) // POINTS)]
    points = t1.affine[:3, :3] @ voxels.T + t1.affine[:3, 3:]
    return np.linalg.norm(publisher.inverse.apply(points) - ours.apply(points), axis=0)


def compared(folder: Path, transforms: Path, case: str) -> np.ndarray | None:
    """The distances of one patient; None where the publisher's copy is not at hand."""
    series: list[Series] = find_series(folder)
    aligned = choose_series(series, ALIGNED_T1)
    original = choose_series(series, T1, required="t1")
    if aligned is None or original is None:
        return None
    ours = read_transform(transforms, case=case, modality="pet")
    return disagreement_mm(read_series(original.series), read_series(aligned.series), ours)


def main() -> None:
    """Compare every patient of a raw folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=Path("data/raw/sts"))
    parser.add_argument("--prepared", type=Path, default=Path("results/prepare/sts"))
    folders = parser.parse_args()
    rows = []
    for folder in sorted(folders.raw.iterdir()) if folders.raw.is_dir() else []:
        case = folder.name.replace("_", "-")
        try:
            distances = compared(folder, folders.prepared / case / "transforms", case)
        except BadInput as error:
            print(f"{case}: not compared: {error}")
            continue
        if distances is None:
            print(f"{case}: not compared: the publisher's aligned T1 is not at hand")
            continue
        title = f"{case}: T1 to PET, mean distance to the publisher's alignment"
        note = f"95 % of the body within {np.percentile(distances, 95):.2f} mm"
        rows.append(Row(name=title, what="points in the body", ours=float(distances.mean()), unit="mm", notes=note))
    if rows:
        write("vendor_alignment", rows)
    else:
        print("Nothing to compare: fetch and prepare `sts` first.")


if __name__ == "__main__":
    main()
