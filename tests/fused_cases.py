"""Small cases and pairs, the plans of small fusers, and what these predict."""

import numpy as np

from diffufuse.files.records import write_record
from diffufuse.pixels.color import luma_and_chroma
from diffufuse.pixels.orientation import as_slice
from diffufuse.plan.plans import network_of
from diffufuse.predict.cases import Prediction, predict_cases
from diffufuse.store.case import PreparedCase, read_prepared
from diffufuse.store.scan import Scan
from diffufuse.store.slices import open_slices, write_slices

SHAPE = (37, 22, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
T1 = {"kind": "mr", "normalization": {"method": "display", "black": 0, "white_sd": 4}}
PET = {"kind": "pet", "normalization": {"method": "display", "black": 0, "white": 15}}
PICTURE = {"kind": "picture", "normalization": {"method": "display", "black": 0, "white": 1}}
SMALL = {
    "leader_width": 8,
    "leader_blocks": 1,
    "leader_heads": 2,
    "leader_nodes": 1,
    "follower_widths": [8, 16],
    "follower_blocks": 1,
    "follower_layers": 1,
    "follower_heads": 2,
}


def plan_of(architecture, *, output="image", modalities=None, **settings):
    return {
        "study_seed": 1,
        "dataset": "d",
        "model": "m",
        "fold": 0,
        "seed": 0,
        "modalities": [{"name": name, **block} for name, block in (modalities or {"t1": T1, "pet": PET}).items()],
        "regions": [] if output == "image" else [{"name": "mass", "labels": [1]}],
        "block": {
            "architecture": architecture,
            "settings": settings,
            "output": output,
            "training": {"patch": [16, 16, 1]},
        },
    }


def scan_of(shape=SHAPE, seed=0):
    """T1 and PET, the latter cut off in a corner; no body in the first slice, and nothing acquired in the last."""
    draw = np.random.default_rng(seed)
    images = np.stack([draw.normal(100, 20, shape), draw.gamma(2.0, 2.0, shape)]).astype(np.float32)
    presence, body = np.ones(images.shape, bool), np.ones(shape, bool)
    presence[1, :9, :5], presence[..., -1], body[..., 0] = False, False, False
    return Scan(images * presence, presence, body)


def case_in(folder):
    """A prepared case with a third image, which no fuser reads."""
    scan, labels = scan_of(), np.zeros(SHAPE, np.uint8)
    labels[5:9, 5:9, 2:4] = 1
    names = ("t1", "ct", "pet")
    images = dict(zip(names, (scan.images[0], scan.images[0] * 3, scan.images[1]), strict=True))
    presence = dict(zip(names, (scan.presence[0], scan.presence[0], scan.presence[1]), strict=True))
    digest = write_slices(folder / "A_slices.b2nd", images=images, presence=presence, body=scan.body, labels=labels)
    volumes = {"1": {"drawn": 0.4, "resampled": 0.38}}
    record = {"case": "A", "slices_sha256": digest, "statistics": {}, "affine": AFFINE.tolist(), "labels_ml": volumes}
    write_record(record, folder / "A.json")
    return read_prepared(folder / "A.json")


def predicted(case, plan, folder, *, network=None, condition=None, transfer=None, name="clean"):
    folder.mkdir()
    prediction = Prediction(network or network_of(plan).eval(), plan, 1, transfer)
    predict_cases(prediction, {case.name: case}, folder, condition=condition or {}, study_seed=1, names=("d", name))
    return folder


def displayed(scan):
    """T1 and PET on the display scale, by hand."""
    t1 = scan.images[0][scan.body & scan.presence[0]].astype(float)
    white = np.reshape([t1.mean() + 4 * t1.std(), 15], (2, 1, 1, 1))
    return np.clip(scan.images / white, 0, 1) * scan.presence


def stored_pair(folder, name, images):
    """Pictures in rows and columns as a pair is prepared."""
    images = {modality: as_slice(image).astype(np.float32) for modality, image in images.items()}
    everywhere = np.ones(next(iter(images.values())).shape, bool)
    masks = {"body": everywhere, "labels": np.zeros(everywhere.shape, np.uint8)}
    path = folder / f"{name}_slices.b2nd"
    digest = write_slices(path, images=images, presence=dict.fromkeys(images, everywhere), bounded=True, **masks)
    return PreparedCase(name, open_slices(path, sha256=digest), {}, np.eye(4))


def pair_of(folder, *, function="pet", shape=(30, 41)):
    """A pair: gray structure, colored function; and both pictures."""
    draw = np.random.default_rng(3)
    structure, color = draw.random(shape), 0.2 + 0.6 * draw.random((*shape, 3))
    luma, cb, cr = luma_and_chroma(color)
    images = {"mri": structure, function: luma, f"{function}_cb": cb, f"{function}_cr": cr}
    return stored_pair(folder, "P", images), structure, color
