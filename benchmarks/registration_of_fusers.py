"""What a fuser that registers leaves of a known displacement of the second image, on the test cases of its fold.

`python benchmarks/registration_of_fusers.py DATASET/MODEL ...` needs the trained models and the prepared cases, which
the workflow makes: `snakemake --configfile STUDY results/train/DATASET/MODEL/fold-0_seed-0/weights`.

The error is the mean distance, over pixels in which both images are, between where the network takes a value of the
second image from and where it should. It is given beside the error without the network, and beside what the network
does to pairs that lie on each other.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from compare import Row, write
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffufuse.conditions.apply import apply_condition
from diffufuse.conditions.corruptions.warp import displacement_mm
from diffufuse.models.layers.warping import inverse
from diffufuse.models.pair import PairFuser
from diffufuse.plan.plans import load_model, plan_modalities
from diffufuse.report.statistics import bootstrap_interval
from diffufuse.seeds import seed_of
from diffufuse.store.case import PreparedCase, read_all_prepared
from diffufuse.store.fused import records_in
from diffufuse.store.normalization import normalized
from diffufuse.store.scan import Scan
from diffufuse.study.cohorts import read_cohort

ROOT = Path(__file__).parents[1]
CONDITION, RUN = "warp-function", "fold-0_seed-0"
WARP: Mapping[str, Any] = yaml.safe_load((ROOT / "config/conditions.yaml").read_text())["conditions"][CONDITION]


def errors_of(case: PreparedCase, network: PairFuser, plan: Mapping[str, Any]) -> dict[str, float]:
    """Mean distances of one case: before and after registration, and after registration of what lies right."""
    modalities = plan_modalities(plan)
    second = list(modalities)[1]
    condition, names = {**WARP, "modalities": [second]}, (plan["dataset"], case.name, CONDITION)
    known = {"spacing_mm": case.spacing_mm, "study_seed": plan["study_seed"], "names": names}
    warped = apply_condition(case.scan, condition, modalities=modalities, **known)
    generator = np.random.default_rng(seed_of(plan["study_seed"], *names, second))
    spacing_mm = np.reshape(case.spacing_mm[:2], (2, 1, 1))
    field = displacement_mm(
        case.scan.body.shape[:2], **WARP["settings"], spacing_mm=case.spacing_mm, generator=generator
    )
    back = inverse(torch.from_numpy((field / spacing_mm).astype(np.float32))[None])
    distances: dict[str, list[Tensor]] = {"before": [], "after": [], "after_mm": [], "aligned": []}
    for moving, still, where in zip(
        flows(network, warped, plan), flows(network, case.scan, plan), places(warped), strict=True
    ):
        left = moving - back
        in_mm = left * torch.from_numpy(spacing_mm.astype(np.float32))
        parts = {"before": back, "after": left, "after_mm": in_mm, "aligned": still}
        for name, part in parts.items():
            distances[name].append(part.square().sum(dim=1).sqrt()[where])
    return {name: torch.cat(parts).mean().item() for name, parts in distances.items()}


def flows(network: PairFuser, scan: Scan, plan: Mapping[str, Any]) -> Iterator[Float[Tensor, "1 2 x y"]]:
    """The field of each slice with body."""
    read = normalized(scan, modalities=plan_modalities(plan))
    x, y = scan.body.shape[:2]
    padding = [0, 0, 0, -y % network.stride[1], 0, -x % network.stride[0]]
    for z in np.flatnonzero(scan.body.any(axis=(0, 1))):
        images, presence = (
            functional.pad(torch.from_numpy(part[None, ..., z, None].copy()), padding)
            for part in (read.images, read.presence)
        )
        with torch.inference_mode():
            flow = network.decomposed(images.clamp(0, 1), presence).flow
        if flow is None:
            raise ValueError("network: expected one that registers, got one without a field")
        yield flow[..., :x, :y]


def places(scan: Scan) -> Iterator[Tensor]:
    """Of each slice with body, where it and both images are."""
    inside = scan.body & scan.presence.all(axis=0)
    for z in np.flatnonzero(scan.body.any(axis=(0, 1))):
        yield torch.from_numpy(inside[None, ..., z].copy())


def rows_of(dataset: str, model: str) -> list[Row]:
    """The errors of the test cases of a dataset, in pixels."""
    folder = ROOT / "results/train" / dataset / model / RUN
    plan = yaml.safe_load((folder / "plan.json").read_text())
    network: Any = load_model(plan, folder / "weights")
    prepared = ROOT / "results/prepare" / dataset
    listed = prepared / "pairs.json" if (prepared / "pairs.json").exists() else prepared / "case_lists/test-0.json"
    cases, tested = read_all_prepared(records_in([listed])), read_cohort(ROOT / f"config/cohorts/{dataset}.tsv").test(0)
    found = [errors_of(cases[name].selected(plan_modalities(plan)), network, plan) for name in tested]
    values = {name: np.array([errors[name] for errors in found]) for name in found[0]}
    low, high = bootstrap_interval(values["after"], seed=0)
    share = np.mean(values["after"] < values["before"])
    return [
        Row(
            name=f"{model}, test cases of {dataset}",
            what=f"mean distance of the second image from its place, of {len(tested)} cases, under {CONDITION}",
            ours=float(values["after"].mean()),
            unit="pixel",
            theirs=float(values["before"].mean()),
            peer="no registration",
            goal="ratio >= 1.5",
            how_agrees="",
            notes=(
                f"95 % interval over cases {low:.2f} to {high:.2f} pixels, {values['after_mm'].mean():.2f} mm; "
                f"smaller than before in {share:.0%} of the cases; pairs that lie on each other are moved by "
                f"{values['aligned'].mean():.2f} pixels. Of pictures a pixel counts as 1 mm."
            ),
        )
    ]


if __name__ == "__main__":
    write("registration_of_fusers", [row for name in sys.argv[1:] for row in rows_of(*name.split("/"))])
