"""Constants of normalization: known answers, training patients alone, and the split they belong to."""

from dataclasses import dataclass

import numpy as np
import pytest

from diffufuse.plan.constants import fit_constants, split_sha256, with_constants
from diffufuse.store.normalization import normalize
from diffufuse.store.scan import Scan

MODALITIES = {
    "ct": {"kind": "ct", "normalization": {"method": "cohort", "clip": [0.5, 99.5]}},
    "t1": {"kind": "mr", "normalization": {"method": "zscore"}},
}
SHAPE = (20, 20, 10)


@dataclass
class Stored:
    modalities: tuple[str, ...] = ("ct", "t1")


@dataclass
class Case:
    """As much of a prepared case as is asked for."""

    name: str
    scan: Scan
    slices: Stored


def case(name, ct, *, seen=True):
    images = np.stack([np.broadcast_to(ct, SHAPE), np.ones(SHAPE)]).astype(np.float32)
    presence = np.stack([np.full(SHAPE, seen), np.ones(SHAPE, bool)])
    body = np.zeros(SHAPE, bool)
    body[5:15] = True
    images[0][~body] = -1000
    return Case(name, Scan(images, presence, body), Stored())


def test_every_case_counts_alike_and_only_the_body_is_measured():
    values = np.linspace(0, 100, SHAPE[2])
    found = fit_constants([case("A", values), case("B", values + 50)], modalities=MODALITIES)["modalities"]
    assert set(found) == {"ct"}
    pooled = np.concatenate([values, values + 50])
    assert found["ct"]["mean"] == pytest.approx(pooled.mean())
    assert found["ct"]["sd"] == pytest.approx(pooled.std())
    assert (found["ct"]["low"], found["ct"]["high"]) == pytest.approx((0, 150), abs=3)
    assert found["ct"]["cases"] == 2


def test_a_case_without_the_modality_is_not_counted_as_zeros():
    values = np.linspace(10, 20, SHAPE[2])
    alone = fit_constants([case("A", values)], modalities=MODALITIES)["modalities"]
    both = fit_constants([case("A", values), case("B", 0.0, seen=False)], modalities=MODALITIES)["modalities"]
    assert both == alone


def test_constants_of_another_split_are_refused():
    constants = fit_constants([case("A", np.linspace(0, 1, SHAPE[2]))], modalities=MODALITIES)
    with_constants(MODALITIES, constants, training_cases=["A"])
    with pytest.raises(ValueError, match="another split"):
        with_constants(MODALITIES, constants, training_cases=["A", "B"])


def test_the_fingerprint_of_a_split_knows_its_members_and_not_their_order():
    assert split_sha256(["B", "A"]) == split_sha256(["A", "B"]) != split_sha256(["A", "C"])


def test_the_constants_clip_and_scale():
    constants = fit_constants([case("A", np.linspace(0, 100, SHAPE[2]))], modalities=MODALITIES)
    settings = with_constants(MODALITIES, constants, training_cases=["A"])["ct"]["normalization"]
    values = np.array([-1e6, 50.0, 1e6])
    scaled = normalize(values, np.ones(3, bool), settings=settings, statistics={})
    assert scaled[1] == pytest.approx(0, abs=1e-6)
    assert scaled[0] == pytest.approx(-scaled[2], rel=1e-3)
    assert scaled[2] == pytest.approx((settings["high"] - settings["mean"]) / settings["sd"])


def test_without_percentiles_nothing_is_clipped():
    modalities = {"ct": {"kind": "pet", "normalization": {"method": "cohort"}}}
    constants = fit_constants([case("A", np.linspace(0, 100, SHAPE[2]))], modalities=modalities)
    settings = with_constants(modalities, constants, training_cases=["A"])["ct"]["normalization"]
    [scaled] = normalize(np.array([1e4]), np.ones(1, bool), settings=settings, statistics={})
    assert scaled == pytest.approx((1e4 - 50) / settings["sd"], rel=1e-6)


def test_a_modality_that_no_training_patient_has_cannot_be_normalized():
    constants = fit_constants([case("A", 0.0, seen=False)], modalities=MODALITIES)
    assert constants["modalities"]["ct"]["cases"] == 0
    settings = with_constants(MODALITIES, constants, training_cases=["A"])["ct"]["normalization"]
    with pytest.raises(ValueError, match="training patients' constants"):
        normalize(np.ones(2), np.ones(2, bool), settings=settings, statistics={})
