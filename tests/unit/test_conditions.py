from itertools import combinations

import numpy as np
import pytest
import yaml

from diffufuse.conditions import apply_condition, corrupts
from diffufuse.errors import BadInput
from diffufuse.scan import Scan
from diffufuse.study import check_form

KINDS = {"pet": "pet", "ct": "ct", "t1": "mr"}
NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}}
RICIAN = {"corruption": "rician_noise", "settings": {"noise_sd": 0.3}, "kinds": ["mr"]}


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


def under(scan, condition, names=("d", "A", "c"), seed=1, kinds=KINDS):
    return apply_condition(
        scan,
        condition,
        modalities={name: {"kind": kind} for name, kind in kinds.items()},
        spacing_mm=(2.0, 2.0, 4.0),
        study_seed=seed,
        names=names,
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


def test_the_catalog_has_every_subset_of_pet_ct_and_t1(catalog):
    subsets = {frozenset(block.get("absent", ())) for block in catalog.values() if "corruption" not in block}
    assert {frozenset(some) for n in range(3) for some in combinations(KINDS, n)} <= subsets


def test_the_catalog_has_the_form_that_its_schema_tells_and_runs(catalog, schema, scan):
    check_form(catalog, schema, where="conditions")
    for name, block in catalog.items():
        images = under(scan, block).images
        assert np.isfinite(images).all(), name
        assert np.array_equal(images, scan.images) == (name in ("clean", "no-t2fs")), name


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kinds": ["mr"]}, "corruption"),
        ({"modalities": ["pet"]}, "corruption"),
        (NOISE | {"kinds": ["mri"]}, "mri"),
        (NOISE | {"kind": ["mr"]}, "kind"),
        ({"corruption": "drift"}, "settings"),
    ],
)
def test_a_block_of_another_form_is_refused(fault, told, schema):
    with pytest.raises(BadInput, match=told):
        check_form({"odd": fault}, schema, where="conditions")
