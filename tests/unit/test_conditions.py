import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from diffufuse.conditions.apply import apply_condition, corrupts, withheld
from diffufuse.errors import BadInput
from diffufuse.plan.outputs import Outputs
from diffufuse.predict.inference import normalized, predict
from diffufuse.store.scan import Scan
from diffufuse.study.check import check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.forms import check_form
from diffufuse.study.inputs import condition_of

KINDS = {"pet": "pet", "ct": "ct", "t1": "mr"}
PAIR = {"structure": "t1", "function": "pet"}
NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}}
RICIAN = {"corruption": "rician_noise", "settings": {"noise_sd": 0.3}, "kinds": ["mr"]}
GAIN = {"corruption": "gain", "after": "normalization", "settings": {"change": 0.2}}
MISSING = {"corruption": "missing_slices", "settings": {"share": 0.5}}


@pytest.fixture
def scan():
    draw = np.random.default_rng(5)
    presence = draw.random((3, 8, 8, 6)) > 0.1
    images = np.where(presence, draw.normal(50, 10, (3, 8, 8, 6)), 0).astype(np.float32)
    return Scan(images, presence, draw.random((8, 8, 6)) > 0.2)


@pytest.fixture(scope="module")
def catalog(root):
    return yaml.safe_load((root / "config" / "conditions.yaml").read_text())["conditions"]


@pytest.fixture(scope="module")
def schema(root):
    return yaml.safe_load((root / "workflow" / "schemas" / "conditions.schema.yaml").read_text())


def under(scan, condition, names=("d", "A", "c"), seed=1, kinds=KINDS, **options):
    return apply_condition(
        scan,
        condition,
        modalities={name: {"kind": kind} for name, kind in kinds.items()},
        spacing_mm=(2.0, 2.0, 4.0),
        study_seed=seed,
        names=names,
        **options,
    )


def changed(scan, condition, **options):
    """Names of the modalities whose images differ."""
    after = under(scan, condition, **options).images
    return {name for name, old, new in zip(KINDS, scan.images, after, strict=True) if not np.array_equal(old, new)}


def test_clean_changes_nothing(scan):
    assert not changed(scan, {})


def test_a_withheld_modality_is_absent_everywhere_and_the_scan_itself_is_untouched(scan):
    before = scan.images.copy()
    without = under(scan, {"absent": ["pet"]})
    assert not without.presence[0].any()
    assert not without.images[0].any()
    assert np.array_equal(without.images[1:], scan.images[1:])
    assert np.array_equal(without.presence[1:], scan.presence[1:])
    assert np.array_equal(scan.images, before)
    assert scan.presence[0].any()


def test_the_same_names_give_the_same_voxels_and_others_do_not(scan):
    assert np.array_equal(under(scan, NOISE).images, under(scan, NOISE).images)
    assert not np.array_equal(under(scan, NOISE).images, under(scan, NOISE, names=("d", "B", "c")).images)
    assert not np.array_equal(under(scan, NOISE).images, under(scan, NOISE, seed=2).images)


def test_only_the_named_modalities_are_corrupted_and_only_inside_the_body(scan):
    assert changed(scan, NOISE | {"modalities": ["ct"]}) == {"ct"}
    different = under(scan, NOISE).images != scan.images
    assert different.any(axis=(1, 2, 3)).all()
    assert not different[~(scan.body & scan.presence)].any()


def test_the_numbers_of_a_modality_do_not_depend_on_the_others(scan):
    alone = under(scan, NOISE | {"modalities": ["ct"]}).images[1]
    assert np.array_equal(under(scan, NOISE).images[1], alone)
    fewer = Scan(scan.images[1:], scan.presence[1:], scan.body)
    assert np.array_equal(under(fewer, NOISE, kinds={"ct": "ct", "t1": "mr"}).images[0], alone)


def test_a_kind_says_which_images_are_corrupted(scan):
    assert changed(scan, RICIAN) == {"t1"}
    assert changed(scan, NOISE | {"kinds": ["pet", "mr"]}) == {"pet", "t1"}
    assert changed(scan, NOISE | {"kinds": ["pet", "mr"], "modalities": ["ct", "t1"]}) == {"t1"}


def test_a_condition_may_withhold_one_modality_and_corrupt_another(scan):
    both = NOISE | {"absent": ["pet"], "kinds": ["pet", "ct"]}
    assert changed(scan, both) == {"pet", "ct"}
    assert not under(scan, both).images[0].any()
    assert not corrupts(both, "pet", "pet")


def test_a_condition_without_a_corruption_corrupts_nothing():
    assert not corrupts({}, "ct", "ct")
    assert not corrupts({"absent": ["pet"]}, "ct", "ct")


def test_a_corruption_that_applies_to_no_modality_is_refused(scan):
    with pytest.raises(BadInput, match=r"rician_noise applies to none of pet \(pet\), ct \(ct\), t1 \(ct\)"):
        under(scan, RICIAN, kinds=KINDS | {"t1": "ct"})


def test_a_case_that_lacks_the_corrupted_modality_stays_as_it_is(scan):
    presence = scan.presence.copy()
    presence[2] = False
    without = Scan(np.where(presence, scan.images, 0).astype(np.float32), presence, scan.body)
    assert not changed(without, RICIAN)


def test_only_the_present_modalities_are_left_whatever_else_a_dataset_has(scan):
    only = under(scan, {"present": ["ct"]})
    assert only.presence.any(axis=(1, 2, 3)).tolist() == [False, True, False]
    assert np.array_equal(only.images[1], scan.images[1])
    assert not only.images[[0, 2]].any()


@pytest.mark.parametrize(
    ("condition", "gone"),
    [
        ({}, []),
        (NOISE, []),
        ({"absent": ["t1", "pet"]}, ["pet", "t1"]),
        ({"present": ["t1", "pet"]}, ["ct"]),
        ({"present": ["t2"]}, ["pet", "ct", "t1"]),
    ],
)
def test_what_a_condition_withholds_is_told_in_the_order_of_the_modalities(condition, gone):
    assert withheld(condition, KINDS) == gone
    assert [name for name in KINDS if not corrupts(condition | NOISE, name, KINDS[name])] == gone


def test_a_missing_slice_is_absent_and_not_an_image_of_zeros(scan):
    after = under(scan, MISSING)
    for channel in range(3):
        gone = ~after.presence[channel].any(axis=(0, 1))
        assert gone.sum() == 3
        assert np.array_equal(after.presence[channel][..., ~gone], scan.presence[channel][..., ~gone])
        assert np.array_equal(after.images[channel][..., ~gone], scan.images[channel][..., ~gone])
        assert not after.images[channel][..., gone].any()
    lost = [tuple(~after.presence[channel].any(axis=(0, 1))) for channel in range(3)]
    assert len(set(lost)) > 1
    assert np.array_equal(after.body, scan.body)


def test_a_missing_slice_of_one_modality_leaves_the_others(scan):
    assert changed(scan, MISSING | {"modalities": ["pet"]}) == {"pet"}
    assert not changed(scan, MISSING | {"settings": {"share": 0.0}})


def test_a_condition_acts_at_its_own_place_and_nowhere_else(scan):
    assert not changed(scan, GAIN)
    assert changed(scan, GAIN, after="normalization") == set(KINDS)
    assert changed(scan, NOISE) == set(KINDS)
    assert not changed(scan, NOISE, after="normalization")


ZSCORES = {name: {"kind": kind, "normalization": {"method": "zscore"}} for name, kind in KINDS.items()}


def test_a_gain_after_normalization_reaches_the_network_and_one_before_does_not(scan):
    """Fact 10: a z-score takes a global gain out again, exactly."""
    read = normalized(scan, modalities=ZSCORES)
    early = {key: value for key, value in GAIN.items() if key != "after"}
    assert normalized(under(scan, early), modalities=ZSCORES).images[:, scan.body] == pytest.approx(
        read.images[:, scan.body], abs=1e-5
    )
    late = under(read, GAIN, after="normalization").images
    assert late[:, scan.body] == pytest.approx(1.2 * read.images[:, scan.body], rel=1e-6)
    assert np.array_equal(late[:, ~scan.body], read.images[:, ~scan.body])


class Sum(torch.nn.Module):
    """One channel: the sum of what it sees."""

    dims = 3

    def forward(self, images, presence, *rest):
        return images.sum(dim=1, keepdim=True)


def test_prediction_lets_a_condition_act_after_normalization(scan):
    settings = {"modalities": ZSCORES, "patch": (8, 8, 6), "outputs": Outputs("regions", {"mass": [1]})}
    how = partial(apply_condition, condition=GAIN, modalities=ZSCORES, spacing_mm=(2.0, 2.0, 4.0), study_seed=1)
    plain = predict(Sum(), scan, **settings)[0][scan.body]
    later = predict(
        Sum(), scan, **settings, after_normalization=partial(how, names=("d", "A", "c"), after="normalization")
    )[0][scan.body]
    logit = np.log(plain / (1 - plain))
    assert np.log(later / (1 - later)) == pytest.approx(1.2 * logit, abs=1e-4)


SCRIPT = """
import hashlib, json, sys
import numpy as np
from diffufuse.conditions.apply import apply_condition
from diffufuse.store.scan import Scan
stored = np.load(sys.argv[1])
scan = Scan(stored["images"], stored["presence"], stored["body"])
for name, block in json.loads(sys.argv[2]).items():
    after = apply_condition(
        scan, block, modalities={"pet": {"kind": "pet"}, "ct": {"kind": "ct"}, "t1": {"kind": "mr"}},
        spacing_mm=(2.0, 2.0, 4.0), study_seed=1, names=("d", "A", name), after=block.get("after", "acquisition"),
    )
    for image, there in zip(after.images, after.presence):
        print(name, hashlib.sha256(image.tobytes() + there.tobytes()).hexdigest())
"""


def digests(scan, name, block, kinds=KINDS):
    after = under(scan, block, names=("d", "A", name), kinds=kinds, after=block.get("after", "acquisition"))
    return [
        f"{name} {hashlib.sha256(image.tobytes() + there.tobytes()).hexdigest()}"
        for image, there in zip(after.images, after.presence, strict=True)
    ]


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_the_voxels_are_the_same_in_another_process_and_order_of_conditions(scan, catalog, tmp_path, hash_seed):
    """Everything random is drawn anew there, in the opposite order; only sets and dictionaries could differ."""
    known = {name: block for name, block in catalog.items() if "t2fs" not in name and "modalities" not in block}
    drawn = {name: block for name, block in known.items() if "corruption" in block}
    np.savez(tmp_path / "scan.npz", images=scan.images, presence=scan.presence, body=scan.body)
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "scan.npz", json.dumps(dict(reversed(drawn.items())))],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )
    here = [line for name, block in drawn.items() for line in digests(scan, name, block)]
    assert len(here) == 3 * len(drawn) > 40
    assert sorted(told.stdout.split("\n")[:-1]) == sorted(here)


def test_the_voxels_of_a_modality_are_the_same_in_any_order_of_modalities(scan, catalog):
    order = [2, 0, 1]
    turned = Scan(scan.images[order], scan.presence[order], scan.body)
    kinds = {list(KINDS)[channel]: list(KINDS.values())[channel] for channel in order}
    for name, block in catalog.items():
        if "corruption" in block and "t2fs" not in block.get("modalities", ()):
            block = condition_of(block, {"modalities": KINDS, "pair": PAIR})
            here = digests(scan, name, block)
            assert digests(turned, name, block, kinds=kinds) == [here[channel] for channel in order], name


def test_another_modality_case_or_condition_has_other_numbers(scan):
    alike = Scan(np.repeat(scan.images[:1], 3, axis=0), np.repeat(scan.presence[:1], 3, axis=0), scan.body)
    seen = [image.tobytes() for image in under(alike, NOISE).images]
    seen += [under(alike, NOISE, names=names).images[0].tobytes() for names in (("d", "B", "c"), ("d", "A", "e"))]
    assert len(set(seen)) == 5


def subsets(modalities):
    return {frozenset(some) for n in range(1, len(modalities) + 1) for some in combinations(modalities, n)}


@pytest.mark.parametrize("modalities", [("pet", "ct", "t1", "t2fs"), ("pet", "ct", "t1"), ("t1", "t1c", "t2", "flair")])
def test_the_catalog_has_every_subset_of_the_modalities_of_a_dataset(catalog, modalities):
    left = {
        name: frozenset(modalities) - set(withheld(block, modalities))
        for name, block in catalog.items()
        if "corruption" not in block and {*block.get("absent", ()), *block.get("present", ())} <= set(modalities)
    }
    assert subsets(modalities) <= set(left.values())
    named = {name for name in left if name.count("-") <= 1 or len(modalities) == 4}
    assert {left[name] for name in named} >= subsets(modalities)


def test_a_name_tells_what_is_withheld_and_what_alone_is_corrupted(catalog):
    for name, block in catalog.items():
        if name.startswith("no-"):
            assert block == {"absent": name.split("-")[1:]}
        elif name.startswith("only-"):
            assert block == {"present": name.split("-")[1:]}
        elif "modalities" in block:
            whole, modality = name.rsplit("-", 1)
            assert block == catalog[whole] | {"modalities": [modality]}


def test_each_corruption_of_the_catalog_has_a_block_for_each_modality_that_it_applies_to(catalog):
    kinds = KINDS | {"t2fs": "mr"}
    for name, block in catalog.items():
        if "corruption" in block and "modalities" not in block:
            alone = [modality for modality, kind in kinds.items() if corrupts(block, modality, kind)]
            assert len(alone) == 1 or {f"{name}-{modality}" for modality in alone} <= set(catalog)


def test_a_gain_acts_after_normalization_and_nothing_else_does(catalog):
    assert {name for name, block in catalog.items() if "after" in block} == {
        name for name, block in catalog.items() if block.get("corruption") == "gain"
    }


def test_the_catalog_has_the_form_that_its_schema_tells_and_runs(catalog, schema, scan):
    check_form(catalog, schema, where="conditions")
    kinds = KINDS | {"t2fs": "mr"}
    four = Scan(*(np.concatenate([part, part[2:]]) for part in (scan.images, scan.presence)), scan.body)
    for name, block in catalog.items():
        block = condition_of(block, {"modalities": kinds, "pair": PAIR})
        after = under(four, block, kinds=kinds, after=block.get("after", "acquisition"))
        assert np.isfinite(after.images).all(), name
        assert not after.images[~after.presence].any(), name
        touched = not np.array_equal(after.images, four.images)
        assert touched == (name not in ("clean", "no-t1c", "no-t2", "no-flair")), name


ROOT = Path(__file__).parents[2]
CODE = Code(ROOT / "src", ROOT / "workflow" / "scripts")
STUDY = {"name": "s", "datasets": ["sts"], "models": ["unet"], "folds": [0], "seeds": [0]}


def check(tmp_path, condition=None, *, learned=(), modalities=KINDS, pair=None):
    """A study on three modalities with one condition, and a model that learned from others."""
    rows = "A\tA\t0\t-\t\t-\nB\tB\t1\t-\t\t-\n"
    (tmp_path / "sts.tsv").write_text("case\tpatient\tfold\tvalidates\tsite\texcluded\n" + rows)
    conditions = {"clean": {}, "odd": condition or {}, "gauss": NOISE, "gain": GAIN, "missing": MISSING}
    config = {
        "study": STUDY | {"conditions": ["clean", "odd"]},
        "datasets": {
            "sts": {
                "reference": "t1",
                "pair": pair or {},
                "modalities": {
                    name: {"kind": kind, "normalization": {"method": "zscore"}, "display": {"black": 0, "white": 9}}
                    for name, kind in modalities.items()
                },
                "annotation": {"values": {"1": "mass"}},
                "labels": {"mass": 1},
                "regions": {"mass": [1]},
            }
        },
        "conditions": conditions,
        "models": {
            "unet": {
                "task": "segment",
                "architecture": "unet2d",
                "settings": {"channels": [8, 16]},
                "output": "regions",
                "training": {"regimen": "supervised", "corruption": {"conditions": list(learned)}},
            }
        },
    }
    return check_study(config, tmp_path, code=CODE)


@pytest.mark.parametrize(
    "condition", [{"present": ["ct"]}, {"present": ["ct", "t1"]}, GAIN, MISSING, {"absent": ["t1"]}]
)
def test_a_sound_condition_is_accepted(tmp_path, condition):
    assert check(tmp_path, condition, learned=["gauss"])


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"present": ["t2", "ct"]}, "odd speaks of t2, which sts does not have; known are: pet, ct, t1"),
        ({"present": ["t1", "ct", "pet"]}, "odd keeps every modality of sts"),
        ({"absent": ["t1", "ct", "pet"]}, "odd leaves no modality of sts"),
        (NOISE | {"present": ["pet"], "modalities": ["ct"]}, "odd corrupts no modality of sts"),
        (
            NOISE | {"corruption": "gausian_noise"},
            "'gausian_noise' .*'gaussian_noise'.; known are: gaussian_noise, .*missing_slices",
        ),
    ],
)
def test_a_condition_that_a_dataset_cannot_have_is_refused(tmp_path, condition, told):
    with pytest.raises(BadInput, match=told):
        check(tmp_path, condition)


OF_FUNCTION = NOISE | {"modalities": ["function"]}


def test_a_condition_may_corrupt_a_role_of_the_pair_whatever_its_name(tmp_path, scan):
    assert check(tmp_path, OF_FUNCTION, pair=PAIR)
    other = {"modalities": {"mri": {}, "spect": {}}, "pair": {"structure": "mri", "function": "spect"}}
    assert condition_of(OF_FUNCTION, other) == NOISE | {"modalities": ["spect"]}
    named = {"modalities": {"structure": {}, "function": {}, "x": {}}, "pair": {"structure": "x", "function": "x"}}
    assert condition_of(OF_FUNCTION, named) == OF_FUNCTION
    resolved = condition_of(OF_FUNCTION, {"modalities": KINDS, "pair": PAIR})
    assert changed(scan, resolved) == {"pet"}
    with pytest.raises(BadInput, match="odd speaks of function, which sts does not have"):
        check(tmp_path, OF_FUNCTION)


@pytest.mark.parametrize("name", ["gain", "missing"])
def test_a_model_cannot_learn_from_what_acts_after_normalization_or_removes(tmp_path, name):
    with pytest.raises(
        BadInput, match=f"models.unet.training.corruption.conditions: '{name}' acts after normalization"
    ):
        check(tmp_path, learned=["gauss", name])


def test_the_study_is_checked_without_loading_what_it_takes_to_corrupt():
    code = "import sys, diffufuse.study.study; print(*{'torch', 'scipy', 'torchio'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kinds": ["mr"]}, "corruption"),
        ({"modalities": ["pet"]}, "corruption"),
        (NOISE | {"kinds": ["mri"]}, "mri"),
        (NOISE | {"kind": ["mr"]}, "kind"),
        ({"corruption": "drift"}, "settings"),
        ({"absent": ["ct"], "present": ["pet"]}, "absent.*present"),
        ({"present": []}, "present"),
        ({"after": "normalization"}, "corruption"),
        (NOISE | {"after": "resampling"}, "normalization"),
    ],
)
def test_a_block_of_another_form_is_refused(fault, told, schema):
    with pytest.raises(BadInput, match=told):
        check_form({"odd": fault}, schema, where="conditions")
