"""A wrong value in a catalogue or a study is one clear sentence when the study is read, not hours later."""

import ast
import copy
import inspect
import typing
from pathlib import Path

import pytest
import yaml

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.errors import BadInput
from diffufuse.models import MODELS
from diffufuse.study.annotations import choices, expanded, fits
from diffufuse.study.check import check_form, check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.condition_settings import check_condition_settings, settings_read
from diffufuse.study.dataset_values import check_dataset
from diffufuse.study.definitions import fields_of
from diffufuse.study.settings import arguments_of
from diffufuse.train.objectives import Weights

ROOT = Path(__file__).parents[2]
CODE = Code(ROOT / "src", ROOT / "workflow" / "scripts")
CONFIG = {
    key: value
    for part in ("config", "datasets", "conditions", "models")
    for key, value in yaml.safe_load((ROOT / f"config/{part}.yaml").read_text()).items()
}
SCHEMAS = {
    part: yaml.safe_load((ROOT / f"workflow/schemas/{part}.schema.yaml").read_text()) for part in ("config", "datasets")
}


def change(config, place, value):
    """A configuration with another value at a place like `models.unet2d_tiny.loss`."""
    changed = copy.deepcopy(config)
    *steps, last = place.split("/")
    inner = changed
    for step in steps:
        inner = inner[int(step) if isinstance(inner, list) else step]
    inner[last] = value
    return changed


def refused(config, sentence):
    with pytest.raises(BadInput) as refusal:
        check_study(config, ROOT / "config" / "cohorts", code=CODE)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("unet2d_tiny/loss", {"dise": 1}, "unet2d_tiny.loss: the objective has no weight 'dise', did you mean 'dice'?"),
        ("unet2d_tiny/settings/channels", "abc", "settings.channels: expected a list of integers, got 'abc'."),
        ("unet2d_tiny/settings/channels", 8, "settings.channels: expected a list of integers, got 8."),
        ("unet2d_tiny/settings/channels", [8, 1.5], "settings.channels: expected a list of integers, got [8, 1.5]."),
        ("unet2d_tiny/settings/channels", [8, True], "settings.channels: expected a list of integers, got [8, True]."),
        ("unet2d_tiny/settings/channels", [8, 0], "expected a list of integers, of at least 1, got [8, 0]."),
        ("unet2d_tiny/settings/channels", [], "expected a list of integers, of at least 1, got []."),
        ("unet2d_tiny/settings/groups", 0, "settings.groups: expected an integer, of at least 1, got 0."),
        ("unet2d_tiny/settings/groups", None, "settings.groups: expected an integer, got None."),
        ("diffufusemed_tiny/settings/windows", [4, -1], "windows: expected a list of integers, of at least 0"),
        ("diffufusemed_tiny/settings/latest", ["1e3", 2], "latest: expected a list of numbers, got ['1e3', 2]."),
        ("diffufusemed_tiny/settings/dropout", True, "dropout: expected a number, got True."),
        ("diffufusemed_tiny/settings/dropout", float("nan"), "dropout: expected a number, got nan."),
        (
            "diffufusemed_tiny/settings/strides",
            [2, 2],
            "models.diffufusemed_tiny.settings.strides: expected a list of lists of integers or null, got [2, 2].",
        ),
        (
            "diffufusemed_tiny/settings/gates",
            "unifrom",
            "settings.gates: 'unifrom' does not exist, did you mean 'uniform'?; known are: reliability, uniform.",
        ),
        (
            "diffufusemed_tiny/settings/time_on",
            False,
            "time_on: expected one of 'queries and keys', 'keys', 'off', got False; YAML reads off and no as false",
        ),
        (
            "diffufusemed_tiny_sampled/settings/diffusion",
            "renoised",
            "models.diffufusemed_tiny_sampled.settings.diffusion: 'renoised' does not exist, did you mean 'renoise'?",
        ),
        (
            "diffufusemed_tiny_sampled/weights_of",
            "diffufusemed_tinny",
            "does not train, did you mean 'diffufusemed_tiny'?; known are: ",
        ),
        (
            "unet2d_tiny_scaled/predictions_of",
            "unet2d_tinny",
            "predicts by itself, did you mean 'unet2d_tiny'?; known are: ",
        ),
    ],
)
def test_a_value_of_a_model_is_checked_against_its_code(place, value, sentence):
    refused(change(CONFIG, f"models/{place}", value), sentence)


@pytest.mark.parametrize("model", ["diffufusemed_tiny_sampled", "diffufusemed_tiny_scaled"])
def test_the_model_that_another_borrows_from_is_checked_too(model):
    for part, value in (("settings", {"widths": "abc", "windows": [0], "latest": [1]}), ("loss", {"dise": 1})):
        config = change(CONFIG, f"models/diffufusemed_tiny/{part}", value)
        config["study"] |= {"models": [model]}
        refused({**config, "study": {**config["study"], "only": {}}}, f"models.diffufusemed_tiny.{part}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("diffufusemed_tiny/settings/temperature", 5),
        ("diffufusemed_tiny/settings/strides", None),
        ("diffufusemed_tiny/settings/strides", [[2, 2], [2, 2], [2, 2]]),
        ("diffufusemed_tiny/settings/windows", [0, 0]),
        ("diffufusemed_tiny/settings/attention_blocks", 0),
        ("diffufusemed_tiny/settings/diffusion", "off"),
        ("unet2d_tiny/loss", {"dice": 2, "boundary": 0.0}),
    ],
)
def test_a_sound_value_of_a_model_is_accepted(place, value):
    config = change(CONFIG, f"models/{place}", value)
    assert check_study(config, ROOT / "config" / "cohorts", code=CODE)


@pytest.mark.parametrize("architecture", MODELS)
def test_aliases_in_annotations_are_followed_in_source_as_python_does(architecture):
    model = MODELS[architecture]
    hints = typing.get_type_hints(model.__init__, vars(inspect.getmodule(model)))
    defaults = model.__init__.__kwdefaults__ or {}
    for name, annotation in arguments_of(CODE, "diffufuse.models", model.__name__).annotations.items():
        literal = typing.get_origin(hints[name]) is typing.Literal
        assert choices(annotation) == list(typing.get_args(hints[name]) if literal else [])
        assert name not in defaults or fits(defaults[name], annotation)


def test_an_annotation_of_another_kind_accepts_all_values():
    annotation = ast.parse("Mapping[str, Any]", mode="eval").body
    assert fits({"a": 1}, expanded(annotation, CODE, "diffufuse.models"))


def test_the_weights_read_from_source_are_those_of_the_objective():
    assert fields_of(CODE, "diffufuse.train.objectives", "Weights") == list(Weights.__dataclass_fields__)
    with pytest.raises(ValueError, match="expected a class Wights"):
        fields_of(CODE, "diffufuse.train.objectives", "Wights")


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (
            "gauss-0.3/settings",
            {"noise_std": 0.3},
            "conditions.gauss-0.3.settings: gaussian_noise reads no 'noise_std', did you mean 'noise_sd'?; known are: "
            "noise_sd.",
        ),
        ("gauss-0.3/settings", {}, "conditions.gauss-0.3.settings: gaussian_noise needs noise_sd, which is not set"),
        ("gauss-0.3/settings/noise_sd", "0.3", "conditions.gauss-0.3.settings.noise_sd: expected a number, got '0.3'."),
        ("gauss-0.3/settings/noise_sd", True, "conditions.gauss-0.3.settings.noise_sd: expected a number, got True."),
        ("gauss-0.3/corruption", "gausian_noise", "'gausian_noise' does not exist, did you mean 'gaussian_noise'?"),
        # A training learns from it, and the study does not test it.
        ("drift/settings", {"amplitud": 0.2}, "conditions.drift.settings: drift reads no 'amplitud', did you mean"),
        ("drift/corruption", "drifft", "conditions.drift.corruption: 'drifft' does not exist, did you mean 'drift'?"),
    ],
)
def test_a_value_of_a_condition_is_checked_against_what_its_corruption_reads(place, value, sentence):
    refused(change(CONFIG, f"conditions/{place}", value), sentence)


@pytest.mark.parametrize("name", CONFIG["conditions"])
def test_every_condition_of_the_catalogue_passes(name):
    check_condition_settings(name, CONFIG["conditions"][name], CODE)


@pytest.mark.parametrize("corruption", [*CORRUPTIONS, *REMOVALS])
def test_all_settings_of_a_corruption_are_seen_and_in_its_docstring(corruption):
    reads = settings_read(CODE, corruption)
    assert reads.all_seen
    assert reads.required
    documentation = (CORRUPTIONS | REMOVALS)[corruption].__doc__
    assert all(f"`{name}`" in documentation for name in (*reads.required, *reads.optional))


def test_a_corruption_that_hands_its_settings_on_may_read_any(tmp_path):
    folder = tmp_path / "diffufuse" / "conditions" / "corruptions"
    folder.mkdir(parents=True)
    lines = ["from diffufuse.conditions.corruptions.odd import odd", 'CORRUPTIONS = {"odd": odd}', "REMOVALS = {}"]
    (folder / "__init__.py").write_text("\n".join(lines))
    odd = "def odd(image, *, settings):\n    return settings['a'] + settings.get('b', 1)"
    (folder / "odd.py").write_text(odd)
    check_condition_settings("x", {"corruption": "odd", "settings": {"a": 1, "b": 2}}, Code(tmp_path, tmp_path))
    check_condition_settings("x", {"corruption": "odd", "settings": {"a": 1}}, Code(tmp_path, tmp_path))
    block = {"corruption": "odd", "settings": {"a": 1, "c": 2}}
    with pytest.raises(BadInput, match=r"reads no 'c'; known are: a, b\."):
        check_condition_settings("x", block, Code(tmp_path, tmp_path))
    (folder / "odd.py").write_text(f"{odd} + other(**settings)")
    check_condition_settings("x", block, Code(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (
            "regions/mass",
            [3],
            "datasets.phantom.regions.mass: 3 is not a value of datasets.phantom.labels; known are: 1",
        ),
        (
            "annotation/rois/mas",
            "GTV",
            "annotation.rois: 'mas' is not in datasets.phantom.labels, did you mean 'mass'?; known are: mass, edema.",
        ),
        ("annotation/optional", ["edem"], "annotation.optional: 'edem' is not in datasets.phantom.labels, did you"),
        ("annotation/values", {"1": "mas"}, "datasets.phantom.annotation.values: 'mas' is not in"),
        ("annotation/values", {"one": "mass"}, "expected whole numbers of the file as keys, got 'one'."),
        ("annotation/rois/mass", "GTV(", "datasets.phantom.annotation.rois.mass: expected a regular expression, got"),
        (
            "annotation/rois/mass",
            {"pattern": "GTV(", "several": "union"},
            "datasets.phantom.annotation.rois.mass: expected a regular expression, got",
        ),
        (
            "annotation/drawn_on",
            "t1c",
            "annotation.drawn_on: 't1c' is not in datasets.phantom.modalities, did you mean",
        ),
        ("reference", "t11", "datasets.phantom.reference: 't11' is not in datasets.phantom.modalities, did you mean"),
        ("modalities/pet/follows", "cts", "modalities.pet.follows: 'cts' is not in datasets.phantom.modalities, did"),
        ("modalities/ct/follows", "pet", "expected a modality that does not follow back, got the circle pet, ct, pet;"),
        ("modalities/pet/follows", "pet", "expected a modality that does not follow back, got the circle pet, pet;"),
        (
            "modalities/ct/normalization/clip",
            [99.5, 0.5],
            "modalities.ct.normalization.clip: expected a lower and a higher percentile, got 99.5, 0.5.",
        ),
        (
            "modalities/ct/normalization",
            {"method": "window", "low": 100, "high": 100},
            "datasets.phantom.modalities.ct.normalization: expected low below high, got 100 and 100.",
        ),
        (
            "modalities/t1/series/0/SeriesDescription",
            "*t1",
            "datasets.phantom.modalities.t1.series.0.SeriesDescription: expected a regular expression, got '*t1'",
        ),
        (
            "modalities/t1/series/0/without",
            {"SeriesDescription": "[a"},
            "datasets.phantom.modalities.t1.series.0.without.SeriesDescription: expected a regular expression",
        ),
        ("annotation/series/0/Modality", "(", "datasets.phantom.annotation.series.0.Modality: expected a regular"),
    ],
)
def test_values_of_a_dataset_fit_together(place, value, sentence):
    refused(change(CONFIG, f"datasets/phantom/{place}", value), sentence)


def test_a_label_of_several_regions_is_asked_for_in_words():
    place = "phantom/annotation/rois/mass"
    asked = {"pattern": "^GTV", "several": "union"}
    check_form(change(CONFIG["datasets"], place, asked), SCHEMAS["datasets"], where="datasets")
    for wrong, told in (
        ({"pattern": "^GTV"}, "'several' is a required property"),
        ({**asked, "several": "all"}, r"'all' is not one of .'union'"),
        ({**asked, "optional": True}, "known are: pattern, several"),
        (7, "7 is not of type 'string', 'object'"),
    ):
        with pytest.raises(BadInput, match=told):
            check_form(change(CONFIG["datasets"], place, wrong), SCHEMAS["datasets"], where="datasets")


def test_a_dataset_that_models_are_transferred_to_is_checked_even_where_none_can_be_scored():
    config = change(CONFIG, "datasets/btcv/reference", "mr")
    check_study(config, ROOT / "config" / "cohorts", code=CODE)
    refused(change(config, "study/transfers", ["btcv"]), "datasets.btcv.reference: 'mr' is not in")


@pytest.mark.parametrize("name", CONFIG["datasets"])
def test_every_dataset_of_the_catalogue_passes(name):
    check_dataset(name, CONFIG["datasets"][name])


def test_the_reference_is_registered_to_nothing_so_it_ends_a_chain():
    config = change(CONFIG, "datasets/phantom/modalities/t1/follows", "t2fs")
    assert check_study(config, ROOT / "config" / "cohorts", code=CODE)


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("phantom/spacing_mm", [2, 2, 0], "datasets.phantom.spacing_mm.2: 0 is less than or equal to the minimum of 0"),
        ("phantom/modalities/ct/normalization/clip", [0, 101], "normalization.clip.1: 101 is greater than the maximum"),
        ("phantom/modalities/ct/normalization", {"method": "window"}, "normalization: 'low' is a required property"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_schema(place, value, sentence):
    with pytest.raises(BadInput, match=sentence):
        check_form(change(CONFIG["datasets"], place, value), SCHEMAS["datasets"], where="datasets")


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (
            "models",
            ["unet2d_tinny"],
            "study.models: 'unet2d_tinny' is not in config/models.yaml, did you mean 'unet2d_",
        ),
        ("conditions", ["clean", "no-pett"], "study.conditions: 'no-pett' is not in config/conditions.yaml, did you"),
        ("datasets", ["fantom"], "study.datasets: 'fantom' is not in config/datasets.yaml, did you mean 'phantom'?"),
        ("transfers", ["brat"], "study.transfers: 'brat' is not in config/datasets.yaml, did you mean 'brats'?"),
        (
            "compare_with",
            "unet2d_tinny",
            "study.compare_with: 'unet2d_tinny' is not a model of the study, did you mean",
        ),
        ("conditions", ["no-pet", "gauss-0.3"], "study.conditions: expected clean, with which the others are compared"),
        (
            "overlay_conditions",
            ["claen"],
            "study.overlay_conditions: 'claen' is not in config/conditions.yaml, did you",
        ),
        (
            "overlay_conditions",
            ["no-ct"],
            "study.overlay_conditions: expected a condition of the study, got no-ct; known",
        ),
        ("only", {"unet2d_tinny": ["clean"]}, "study.only: 'unet2d_tinny' is not in config/models.yaml, did you mean"),
        (
            "only",
            {"unet2d_tiny": ["claen"]},
            "study.only.unet2d_tiny: 'claen' is not in config/conditions.yaml, did you",
        ),
        ("only", {"unet2d_tiny": ["no-pet"]}, "study.only.unet2d_tiny: expected clean among its conditions; add it."),
    ],
)
def test_a_name_in_the_study_exists(part, value, sentence):
    refused(change(CONFIG, f"study/{part}", value), sentence)


@pytest.mark.parametrize(("part", "value"), [("folds", ["0"]), ("overlays", "2")])
def test_a_number_that_came_as_text_is_answered_with_how_to_give_it(part, value):
    with pytest.raises(BadInput, match=r"is not of type 'integer'; --config gives texts .* that --configfile names"):
        check_form(change(CONFIG, f"study/{part}", value), SCHEMAS["config"], where="config")


def test_another_text_in_place_of_a_number_is_not_blamed_on_the_command_line():
    with pytest.raises(BadInput, match=r"config\.study\.overlays: 'many' is not of type 'integer'\."):
        check_form(change(CONFIG, "study/overlays", "many"), SCHEMAS["config"], where="config")
