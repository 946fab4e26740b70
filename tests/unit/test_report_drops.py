import pytest
from small_studies import BASE, DATASETS, TRAINING, compared, pairs_of, runs_in

from diffufuse.report.tables.missing_modalities import counterintuitive, missing_modalities, present
from diffufuse.report.tables.robustness import robustness


def harmed(tmp_path, **changes):
    """Two models under three conditions; the second learned without any harm."""
    plain = TRAINING | {"modality_dropout": 0.0, "corruption": {"probability": 0.0}}
    block = {"architecture": "unet2d", "settings": {}, "training": plain}
    names = {"unet2d": "unet2d", "plain": "plain"}
    records = [
        *pairs_of(unet2d=BASE, plain=BASE),
        *pairs_of("no-pet", unet2d=[value - 0.1 for value in BASE], plain=BASE),
        *pairs_of("only-ct", unet2d=[value - 0.2 for value in BASE], plain=BASE),
        *pairs_of("gauss-0.5", unet2d=[value + 0.05 for value in BASE], plain=BASE),
        *pairs_of("bias", unet2d=BASE, plain=BASE),
    ]
    runs = runs_in(tmp_path, {}, {"model": "plain", "block": block}, trained_as=names)
    return compared(*records, runs=runs, **changes)


def test_missing_modalities_tell_the_drop_in_points_and_who_never_met_them(tmp_path):
    table = missing_modalities(harmed(tmp_path))
    assert table[["condition", "present", "unet2d", "plain"]].to_numpy().tolist()[:3] == [
        ["clean", "pet, ct, t1", "0.450", "0.450"],
        ["no-pet", "ct, t1", "0.350 (-10.0)", "0.450 (+0.0) unseen"],
        ["only-ct", "ct", "0.250 (-20.0)", "0.450 (+0.0) unseen"],
    ]


def test_robustness_marks_the_corruptions_that_a_training_never_met(tmp_path):
    table = robustness(harmed(tmp_path))
    assert table[["condition", "unet2d", "plain"]].to_numpy().tolist() == [
        ["clean", "0.450", "0.450"],
        ["gauss-0.5", "0.500 (+5.0)", "0.450 (+0.0) unseen"],
        ["bias", "0.450 (+0.0) unseen", "0.450 (+0.0) unseen"],
    ]


def test_a_drop_is_paired_over_the_patients_that_have_both():
    records = [
        ("P-0", "clean", "unet2d", 0, {"dice": 0.9}),
        ("P-1", "clean", "unet2d", 0, {"dice": 0.1}),
        ("P-0", "no-pet", "unet2d", 0, {"dice": 0.7}),
    ]
    assert missing_modalities(compared(*records))["unet2d"].tolist()[:2] == ["0.500", "0.700 (-20.0)"]


def test_a_study_without_such_conditions_says_so():
    found = compared(*pairs_of(unet2d=BASE), conditions={"clean": {}})
    assert missing_modalities(found)["note"].tolist() == ["No condition of this study withholds a modality."]
    assert robustness(found)["note"].tolist() == ["No condition of this study corrupts an image."]


def missing(*records, conditions, **changes):
    return missing_modalities(compared(*records, conditions=conditions, **changes)).set_index("condition")


def flat(value):
    return [value] * 8


def test_averages_stand_by_the_number_of_modalities_present_and_say_of_how_many_subsets():
    conditions = {
        "clean": {},
        "no-pet": {"absent": ["pet"]},
        "no-ct": {"absent": ["ct"]},
        "pet-alone": {"present": ["pet"]},
        "pet-alone-again": {"absent": ["ct", "t1"]},
    }
    dice = {"clean": 0.9, "no-pet": 0.5, "no-ct": 0.8, "pet-alone": 0.4, "pet-alone-again": 0.1}
    table = missing(
        *(row for name, value in dice.items() for row in pairs_of(name, unet2d=flat(value))), conditions=conditions
    )
    averages = table[["present", "unet2d"]].T.to_dict("list")
    assert averages["average with 3 of 3 present"] == ["1 subset", "0.900"]
    assert averages["average with 2 of 3 present"] == ["2 subsets", "0.650"]
    assert averages["average with 1 of 3 present"] == ["1 subset", "0.400"]
    assert table.loc["more modalities, worse", "unet2d"] == "0.00 (0 of 4)"


def test_more_modalities_that_score_worse_are_counted():
    means = {frozenset("a"): 0.5, frozenset("b"): 0.7, frozenset("ab"): 0.6, frozenset("abc"): 0.6}
    assert counterintuitive(means) == (2, 5)
    assert counterintuitive({frozenset("a"): 1.0, frozenset("b"): 0.0}) == (0, 0)


def test_a_condition_leaves_what_it_names_or_what_it_does_not_withhold():
    assert present({}, ["pet", "ct"]) == {"pet", "ct"}
    assert present({"absent": ["pet"]}, ["pet", "ct"]) == {"ct"}
    assert present({"present": ["pet", "t1"]}, ["pet", "ct"]) == {"pet"}


def test_uniform_gates_stand_beside_their_weights_with_the_gain_of_the_gates():
    models = {
        "unet2d": {},
        "method": {"architecture": "diffufusemed"},
        "other": {},
        "uniform": {"weights_of": "method", "settings": {"temperature": 0.0}},
        "sampled": {"weights_of": "method", "settings": {"diffusion": "renoise"}},
    }
    dice = {"unet2d": 0.1, "method": 0.8, "other": 0.2, "uniform": 0.75, "sampled": 0.7}
    worse = {name: flat(value - 0.1 if name == "uniform" else value) for name, value in dice.items()}
    table = missing(
        *pairs_of(**{name: flat(value) for name, value in dice.items()}),
        *pairs_of("no-pet", **worse),
        conditions={"clean": {}, "no-pet": {"absent": ["pet"]}},
        models=models,
    )
    assert list(table)[3:] == ["unet2d", "method", "uniform", "method: gain of gates", "other", "sampled"]
    assert table["method: gain of gates"].tolist()[:2] == ["+5.0", "+15.0"]


def test_a_dataset_whose_modalities_are_not_known_has_no_averages():
    datasets = {"sts": {name: part for name, part in DATASETS["sts"].items() if name != "modalities"}}
    table = missing_modalities(compared(*pairs_of(unet2d=BASE), *pairs_of("no-pet", unet2d=BASE), datasets=datasets))
    assert "present" not in table
    assert table["condition"].tolist()[:2] == ["clean", "no-pet"]
    assert not table["condition"].str.startswith("average").any()


@pytest.mark.parametrize("build", [robustness, missing_modalities])
def test_scaled_probabilities_have_no_drop_of_their_own(build):
    models = {"unet2d": {}, "scaled": {"predictions_of": "unet2d"}}
    assert "scaled" not in build(compared(*pairs_of(unet2d=BASE, scaled=BASE), models=models))
