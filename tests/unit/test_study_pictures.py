"""Which pictures a study asks for, and what the rule is told of each, in the studies of the repository."""

import functools
import inspect
import re
from types import SimpleNamespace

import pytest
from study_jobs import ROOT, RULES, job, study_of

from diffufuse.errors import BadInput
from diffufuse.report.pictures import PICTURES
from diffufuse.study.pictures import OF_FUSION

STUDIES = ("phantom", "sts_ibsi")


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Cohort sheets are read below the working directory."""
    monkeypatch.chdir(ROOT)


@functools.cache
def read_once(name):
    return study_of(name)


@pytest.fixture(params=STUDIES)
def study(request):
    return read_once(request.param)


def wildcards_of(name):
    """The wildcards of `{picture}/{dataset}/{subject}`."""
    picture, dataset, subject = name.split("/", 2)
    return job(picture=picture, dataset=dataset, subject=subject)


def named(study, picture):
    """The wildcards of all pictures of a kind."""
    found = [wildcards_of(name) for name in study.pictures.names if name.startswith(f"{picture}/")]
    assert found
    return found


def test_every_registered_picture_is_asked_for_and_has_a_path_that_rules_allow(study):
    [kinds] = re.findall(r'picture=r"(.+)",', RULES)
    [subject] = re.findall(r' subject=r"(.+)",', RULES)
    asked = {name.split("/")[0] for name in study.pictures.names}
    assert set(kinds.split("|")) == set(PICTURES) == asked | set(OF_FUSION)
    assert not asked & set(OF_FUSION) or study.fusing
    for name in study.pictures.names:
        assert re.fullmatch(rf"({kinds})/[a-z0-9_]+/{subject}", name), name


def test_no_picture_is_asked_for_twice(study):
    assert len(set(study.pictures.names)) == len(study.pictures.names)


def test_there_is_one_gallery_a_dataset_and_a_picture_of_every_condition_that_changes_something(study):
    for dataset in study.datasets:
        assert f"gallery/{dataset}/cases" in study.pictures.names
    drawn = [wildcards.subject for wildcards in named(study, "conditions")]
    assert drawn == [name for name in study.config["study"]["conditions"] if name != "clean"]


def test_only_models_that_predict_by_themselves_have_pictures(study):
    for picture in ("extremes", "overlays", "uncertainty"):
        models = {wildcards.subject.split("/")[0] for wildcards in named(study, picture)}
        assert models == set(study.predicting) & set(study.segmenting)
        assert not models & set(study.scaling)


def test_as_many_cases_of_every_fold_are_drawn_as_are_asked_for(study):
    asked = study.config["study"]["overlays"]
    [dataset] = study.datasets
    for picture in ("overlays", "uncertainty"):
        drawn = [wildcards.subject.split("/")[1] for wildcards in named(study, picture)]
        per_model = len(drawn) / len(set(study.predicting) & set(study.segmenting))
        assert per_model == sum(min(asked, len(study.cohorts[dataset].test(fold))) for fold in study.folds)
        assert set(drawn) <= set(study.all_cases_tested(job(dataset=dataset)))


def test_more_overlays_than_cases_draw_each_case_once():
    study = study_of(overlays=99)
    drawn = [wildcards.subject.split("/")[1] for wildcards in named(study, "overlays")]
    assert sorted(set(drawn)) == sorted(study.cohorts["phantom"].test(0) + study.cohorts["phantom"].test(1))


def test_every_map_of_uncertainty_lies_beside_its_picture(study):
    assert {f"uncertainty/{name}" for name in study.pictures.uncertainty_maps} <= set(study.pictures.names)
    assert len(study.pictures.uncertainty_maps) == len(named(study, "uncertainty"))


def test_a_picture_of_a_prediction_shows_the_run_that_tested_its_case(study):
    for picture in ("overlays", "uncertainty"):
        for wildcards in named(study, picture):
            model, case = wildcards.subject.split("/")
            assert study.pictures.cases(wildcards) == [case]
            tests = study.pictures.tests(wildcards)
            runs = {test.rsplit("/", 1)[1] for test in tests}
            [fold] = [one.fold for one in study.cohorts[wildcards.dataset].cases if one.name == case]
            assert runs == {f"fold-{fold}_seed-{study.seeds[0]}"}
            assert {test.split("/")[1:3] == [wildcards.dataset, model] for test in tests} == {True}
            asked = job(dataset=wildcards.dataset, model=model, case=case)
            assert runs == {study.pictures.test_of_case(asked)}


def test_every_test_that_a_picture_shows_is_one_of_the_study(study):
    runs = set(study.tests("{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}"))
    for name in study.pictures.names:
        assert set(study.pictures.tests(wildcards_of(name))) <= runs, name


def test_extremes_choose_from_all_tested_cases_by_the_evaluations_of_all_folds(study):
    for wildcards in named(study, "extremes"):
        assert study.pictures.cases(wildcards) == study.all_cases_tested(wildcards)
        evaluations = study.pictures.evaluations(wildcards)
        assert evaluations == study.pictures.tests(wildcards)
        assert len(evaluations) == len(study.folds)
        assert {test.split("/")[0] for test in evaluations} == {"clean"}


def test_no_other_picture_waits_for_an_evaluation(study):
    for name in study.pictures.names:
        if not name.startswith("extremes/"):
            assert study.pictures.evaluations(wildcards_of(name)) == []


def test_galleries_and_conditions_wait_for_no_prediction(study):
    for picture in ("gallery", "conditions"):
        for wildcards in named(study, picture):
            assert study.pictures.tests(wildcards) == []


def test_a_gallery_shows_at_most_twelve_cases_the_first_and_the_last_among_them():
    study = read_once("sts_ibsi")
    names, shown = study.cohorts["sts_ibsi"].names, study.pictures.cases(wildcards_of("gallery/sts_ibsi/cases"))
    assert len(shown) == 12 < len(names)
    assert (shown[0], shown[-1]) == (names[0], names[-1])


def test_a_condition_is_shown_on_the_first_case():
    study = read_once("phantom")
    assert study.pictures.cases(wildcards_of("conditions/phantom/no-pet")) == study.cohorts["phantom"].names[:1]


def test_overlays_show_the_conditions_that_are_both_asked_for_and_tested():
    study = read_once("sts_ibsi")
    assert study.pictures.conditions("diffufusemed_small") == ["clean", "no-pet", "gauss-0.5", "kspace-strong"]
    assert study.pictures.conditions("diffufusemed_small_uniform_gates") == ["clean", "no-pet", "gauss-0.5"]
    assert study.pictures.conditions("diffufusemed_small_sampled") == ["clean"]


def test_a_study_that_names_no_conditions_for_overlays_draws_all(study):
    asked = {key: value for key, value in study.config["study"].items() if key != "overlay_conditions"}
    every = SimpleNamespace(config={"study": asked}, conditions_of=study.conditions_of)
    model = study.predicting[0]
    assert type(study.pictures)(every).conditions(model) == asked["conditions"]


def test_an_overlay_has_as_many_rows_as_predictions_in_the_same_order(study):
    for wildcards in named(study, "overlays"):
        rows = list(study.pictures.settings(wildcards)["conditions"])
        assert rows == [test.split("/")[0] for test in study.pictures.tests(wildcards)]


def test_every_picture_s_function_takes_the_settings_that_it_is_given(study):
    for name in study.pictures.names:
        wildcards = wildcards_of(name)
        settings = study.pictures.settings(wildcards)
        inspect.signature(PICTURES[wildcards.picture]).bind(None, **settings)
        assert list(settings["modalities"]) == list(study.config["datasets"][wildcards.dataset]["modalities"])


def test_the_picture_of_a_condition_normalizes_and_others_show_physical_values(study):
    for name in study.pictures.names:
        keys = {key for block in study.pictures.settings(wildcards_of(name))["modalities"].values() for key in block}
        assert ("normalization" in keys) is name.startswith("conditions/")


def test_only_pictures_that_draw_at_random_depend_on_the_seed(study):
    for name in study.pictures.names:
        settings = study.pictures.settings(wildcards_of(name))
        assert ("study_seed" in settings) is name.startswith(("conditions/", "overlays/"))


def test_a_citation_redraws_nothing():
    study, config = read_once("phantom"), study_of().config
    config["datasets"]["phantom"]["citation"] = "edited"
    edited = type(study)(config, study.cohorts, study.code)
    for name in study.pictures.names:
        wildcards = wildcards_of(name)
        assert edited.pictures.settings(wildcards) == study.pictures.settings(wildcards)


FUSING = ["fuse4seg_small", "average", "maximum", "convnext_unet_small"]


@pytest.fixture(scope="module")
def fusing():
    """Sarcomas, segmented and fused by a game, and fused by two rules."""
    chosen = {"models": FUSING, "compare_with": "fuse4seg_small", "conditions": ["clean", "no-pet"], "only": {}}
    chosen |= {"transfers": [], "overlay_conditions": ["clean"]}
    return read_with("sts_ibsi", **chosen, folds=[0, 1], overlays=1)


@pytest.fixture(scope="module")
def pairs():
    """Pairs of pictures, fused by two rules, and another set that is tested besides."""
    chosen = {"datasets": ["harvard_pet_mri"], "transfers": ["gfp_pc"], "models": ["average", "maximum"], "only": {}}
    return read_with(**chosen, compare_with="average", folds=[0], conditions=["clean"], overlays=2)


def read_with(file=None, **study):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return study_of(file, **study)


def test_fused_images_of_all_models_that_fuse_are_in_one_picture_a_case(fusing):
    for picture in OF_FUSION:
        folds = set()
        for wildcards in named(fusing, picture):
            assert fusing.pictures.cases(wildcards) == [wildcards.subject]
            [fold] = [fold for fold in (0, 1) if wildcards.subject in fusing.cohorts["sts_ibsi"].test(fold)]
            run = f"fold-{fold}_seed-{fusing.seeds[0]}"
            assert fusing.pictures.tests(wildcards) == [f"clean/sts_ibsi/{model}/{run}" for model in FUSING[:3]]
            folds.add(fold)
        assert folds == {0, 1}


def test_pictures_of_masks_are_of_models_that_have_some(fusing):
    for picture in ("extremes", "overlays", "uncertainty"):
        models = {wildcards.subject.split("/")[0] for wildcards in named(fusing, picture)}
        assert models == {FUSING[0], FUSING[3]}
    assert {name.split("/")[1] for name in fusing.pictures.uncertainty_maps} == {FUSING[0], FUSING[3]}


def test_a_picture_of_fusion_knows_both_sources_and_how_they_are_shown(fusing, pairs):
    for study, sources in ((fusing, ["t1", "pet"]), (pairs, ["mri", "pet"])):
        [wildcards, *_] = named(study, "fused")
        settings = study.pictures.settings(wildcards)
        inspect.signature(PICTURES["fused"]).bind(None, **settings)
        assert list(settings["sources"]) == sources
        assert {block["normalization"]["method"] for block in settings["sources"].values()} == {"display"}
        assert len(settings["models"]) == len(study.pictures.tests(wildcards))


def test_pairs_have_pictures_of_fusion_alone_and_other_sets_too(pairs):
    kinds = {tuple(name.split("/")[:2]) for name in pairs.pictures.names}
    assert kinds == {("fused", "harvard_pet_mri"), ("fused", "gfp_pc")}
    tested = [wildcards for wildcards in named(pairs, "fused") if wildcards.dataset == "gfp_pc"]
    assert len(tested) == 2
    assert pairs.pictures.tests(tested[0]) == [
        f"clean/harvard_pet_mri/{model}/fold-0_seed-{pairs.seeds[0]}" for model in ("average", "maximum")
    ]
    assert list(pairs.pictures.settings(tested[0])["sources"]) == ["pc", "gfp"]


def test_every_fused_image_that_a_picture_shows_is_one_of_the_study(fusing, pairs):
    for study in (fusing, pairs):
        pattern = "{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}"
        runs = set(study.tests(pattern))
        runs |= set(study.transfer_tests("clean/{trained_on}/{model}/fold-{fold}_seed-{seed}"))
        for wildcards in named(study, "fused"):
            assert set(study.pictures.tests(wildcards)) <= runs


@pytest.mark.parametrize("picture", ["extremes", "overlays", "uncertainty"])
def test_a_picture_of_masks_is_refused_for_a_model_that_has_none(fusing, picture):
    subject = "average" if picture == "extremes" else "average/STS-001"
    with pytest.raises(BadInput, match="average: expected a model with masks; a fuser has neither"):
        fusing.pictures.tests(job(picture=picture, dataset="sts_ibsi", subject=subject))


def test_a_map_and_a_calibration_are_refused_for_a_model_that_has_no_probabilities(fusing):
    run = {"dataset": "sts_ibsi", "model": "average", "fold": "0", "seed": "0"}
    with pytest.raises(BadInput, match="neither masks nor probabilities"):
        fusing.pictures.test_of_case(job(**run, case="STS-001"))
    with pytest.raises(BadInput, match="neither masks nor probabilities"):
        fusing.scaled_run(job(**run))
    assert fusing.scaled_run(job(**run | {"model": "fuse4seg_small"})) == "fuse4seg_small/fold-0_seed-0"


@pytest.mark.parametrize("dataset", ["harvard_pet_mri", "gfp_pc"])
@pytest.mark.parametrize("picture", ["gallery", "edge_profiles", "overlays"])
def test_of_pairs_there_are_pictures_of_fused_images_alone(pairs, dataset, picture):
    with pytest.raises(BadInput, match=f"{picture}/{dataset}: expected one of the pictures fused"):
        pairs.pictures.cases(job(picture=picture, dataset=dataset, subject="cases"))


def test_a_picture_of_what_is_not_there_is_refused(fusing):
    with pytest.raises(BadInput, match="STS-999: expected a case of sts_ibsi that a fold tests"):
        fusing.pictures.tests(job(picture="overlays", dataset="sts_ibsi", subject="fuse4seg_small/STS-999"))
    with pytest.raises(BadInput, match="STS-999: expected a case of sts_ibsi that a fold tests"):
        fusing.pictures.tests(job(picture="fused", dataset="sts_ibsi", subject="STS-999"))
    alone = read_with("fusion_sts", models=["convnext_unet_small"], compare_with="convnext_unet_small")
    with pytest.raises(BadInput, match="STS-001: expected a study that fuses images of sts_ibsi"):
        alone.pictures.tests(job(picture="fused", dataset="sts_ibsi", subject="STS-001"))
