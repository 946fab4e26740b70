"""Whether the gate passes correct registrations and stops wrong ones: shifted, flipped, another patient's."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from compare import RESULTS, Row, write
from pairs import displacement, patients, phantoms

from diffufuse.prepare.registration import Registration, assess, first_violation, register
from diffufuse.space.resampling import center_mm
from diffufuse.space.transforms import Transform, rigid_matrix
from diffufuse.space.volumes import Volume

EVERY = 5
ALIGNED = "aligned by the publisher"


def pairs() -> Iterator[tuple[str, str, Volume, Volume, Volume]]:
    """Name, modality, moving image, reference, and the same modality of another patient."""
    phantom_images = [(name, images) for name, images, _ in list(phantoms())[:3]]
    patient_images = list(patients())[::EVERY]
    for cohort in (phantom_images, patient_images):
        for (name, images), (_, others) in pairwise([*cohort, cohort[0]]):
            for modality in ("ct", "pet", "t2fs"):
                if modality not in images:
                    continue
                yield name, modality, images[modality], images["t1"], others[modality]


def registered(moving: Volume, reference: Volume, other: Volume, name: str) -> dict[str, Registration]:
    """Sound registrations and five wrong ones, by what is wrong."""
    correct = register(moving, reference)
    shift = displacement(name, about_mm=center_mm(reference), shift_mm=40.0, angle_deg=0.0)
    blank = moving.array.copy()
    blank[: blank.shape[0] // 2] = blank[:, : blank.shape[1] // 3] = blank.min()
    other_to_reference = rigid_matrix(center_mm(reference) - center_mm(other), np.zeros(3), about_mm=np.zeros(3))
    aligned = {} if name.startswith("PH") else {ALIGNED: assess(moving, reference, transform=Transform())}
    return {
        "sound": correct,
        **aligned,
        **(
            {}
            if name.startswith("PH")
            else {"aligned by the publisher": assess(moving, reference, transform=Transform())}
        ),
        "shifted by 40 mm": assess(moving, reference, transform=correct.transform.then(Transform((shift,)))),
        "flipped along the body": register(moving.with_array(moving.array[..., ::-1].copy()), reference),
        "flipped left to right": register(moving.with_array(moving.array[::-1].copy()), reference),
        "another patient": register(Volume(other.array, other_to_reference @ other.affine), reference),
        "half blank": register(moving.with_array(blank), reference),
    }


def main() -> None:
    """Print each verdict and keep the counts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    stopped: Counter[tuple[str, str, str]] = Counter()
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "gate.jsonl").open("w") as log:
        for name, modality, moving, reference, other in pairs():
            for what, registration in registered(moving, reference, other, name).items():
                cohort = "phantom" if name.startswith("PH") else "patients"
                fault = first_violation(registration, gate={})
                counts[cohort, modality, what] += 1
                stopped[cohort, modality, what] += fault is not None
                print(f"{name} {modality:4} {what:24} {fault or 'passed'}", flush=True)
                log.write(
                    json.dumps({"case": name, "modality": modality, "what": what, **registration.quality()}) + "\n"
                )
                log.flush()
    rows = [
        Row(
            name=f"gate {cohort} {modality} to t1: {what}",
            what=f"registrations that the gate stops, of {counts[cohort, modality, what]}",
            ours=stopped[cohort, modality, what],
            unit=f"of {counts[cohort, modality, what]}",
            notes="none should be stopped"
            if what in ("sound", "aligned by the publisher")
            else "all should be stopped",
        )
        for cohort, modality, what in counts
    ]
    write("gate", rows)


if __name__ == "__main__":
    main()
