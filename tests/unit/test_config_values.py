"""A wrong value in a catalogue or a study is one clear sentence when the study is read, not hours later."""

import ast
import copy
import datetime
import inspect
import json
import typing
from pathlib import Path

import pytest
import yaml

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.errors import BadInput
from diffufuse.models import MODELS
from diffufuse.study.annotations import choices, expanded, fits
from diffufuse.study.catalogues import check_catalogues
from diffufuse.study.check import check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.condition_settings import RANGES, check_condition_settings, settings_read
from diffufuse.study.dataset_patterns import dicom_keywords
from diffufuse.study.dataset_values import check_dataset
from diffufuse.study.definitions import fields_of
from diffufuse.study.forms import check_form
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
        ("annotation/drawn_on", "ct", "expected t1, the reference, or a modality in its frame, got ct, which is"),
        ("reference", "ct", "drawn_on: expected ct, the reference, or a modality in its frame, got t1, which is"),
        ("modalities/t1/aligned", "by hand", "modalities.t1.aligned: expected it beside `follows`, whose truth it"),
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


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        # labels and regions
        (
            "phantom/labels",
            {"mass": 1, "edema": 1},
            "labels.edema: expected a number of its own, got 1, which mass has",
        ),
        ("phantom/labels", {"mass": 1, "edema": 256}, "labels.edema: expected 1 to 255, got 256; 0 is background."),
        ("phantom/labels", {"mass": 1, "edema": -2}, "labels.edema: expected 1 to 255, got -2"),
        (
            "phantom/labels/bone",
            3,
            "labels.bone: expected a label that datasets.phantom.annotation names, got one that",
        ),
        ("phantom/regions/mass", [1, 1], "regions.mass: expected each number once, got 1, 1."),
        ("phantom/lesion", "mas", "datasets.phantom.lesion: 'mas' is not a region, did you mean 'mass'?"),
        (
            "brats/annotation/values/0",
            "ncr",
            "expected numbers of the file like 1 or 12 as keys, got '0'; 0 is backgro",
        ),
        ("brats/annotation/values/01", "ncr", "expected numbers of the file like 1 or 12 as keys, got '01'"),
        ("brats/annotation/values/1.0", "ncr", "expected whole numbers of the file as keys, got '1.0'."),
        # modalities
        ("phantom/modalities/t1/follows", "ct", "modalities.t1.follows: expected none, as t1 is the reference"),
        (
            "phantom/modalities/labels",
            {
                "kind": "ct",
                "series": [{"Modality": "CT", "BodyPartExamined": "LEG"}],
                "normalization": {"method": "zscore"},
            },
            "modalities.labels: expected a name that no other file of a case has",
        ),
        ("brats/modalities/t2/like", "t2fss", "like: 't2fss' is not a modality of kind mr of another dataset, did you"),
        ("brats/modalities/t2/like", "ct", "like: 'ct' is not a modality of kind mr of another dataset"),
        ("brats/modalities/t2/like", "t1", "like: expected a modality that nothing else of this dataset stands for"),
        ("brats/modalities/flair/like", "t2fs", "got 't2fs', which t2 does; leave it out."),
        ("phantom/spacing_mm", [0.002, 0.002, 0.004], "expected voxels of 0.01 to 100 mm, got 0.002, 0.002, 0.004"),
        ("phantom/spacing_mm", [2, 2, 1000], "expected voxels of 0.01 to 100 mm, got 2, 2, 1000"),
        ("phantom/modalities/t1/normalization/clip", [1, 99], "clip: expected a key that the method zscore reads, got"),
        ("phantom/modalities/ct/normalization/low", -100, "low: expected a key that the method cohort reads, got one"),
        (
            "phantom/modalities/ct/normalization",
            {"method": "log"},
            "normalization.method: expected another method than log for an image of kind ct",
        ),
        # keys of another format
        (
            "phantom/modalities/ct/channel",
            1,
            "modalities.ct.channel: expected a key that is read with format dicom, got",
        ),
        ("phantom/modalities/ct/file", ["{case}/a.nii"], "modalities.ct.file: expected a key that is read with format"),
        ("brats/modalities/t1/fill_gaps", 1, "modalities.t1.fill_gaps: expected a key that is read with format nifti"),
        ("brats/annotation/optional", ["ncr"], "annotation.optional: expected a key that is read with format nifti"),
        (
            "phantom/annotation/values",
            {"1": "mass"},
            "annotation.values: expected a key that is read with format dicom",
        ),
        # rules on tags, and contours
        (
            "phantom/modalities/t1/series/0/SeriesDescripton",
            "t1",
            "'SeriesDescripton' is not the keyword of a DICOM tag with text, did you mean 'SeriesDescription'?",
        ),
        (
            "phantom/annotation/series/0/PixelData",
            "x",
            "series.0: 'PixelData' is not the keyword of a DICOM tag with te",
        ),
        (
            "phantom/modalities/t1/series/0/without",
            {"SeriesDescripton": "x"},
            "'SeriesDescripton' is not the keyword of a DICOM tag",
        ),
        (
            "phantom/modalities/t1/series/0/SeriesDescription",
            "",
            "expected a regular expression, got an empty one, whi",
        ),
        ("phantom/modalities/t1/series/0/SeriesDescription", "t1\u200b", "expected a regular expression, got U+200B"),
        (
            "phantom/modalities/t1/series/0/without",
            {"SeriesDescription": "t1"},
            "without: expected other patterns than",
        ),
        ("phantom/modalities/pet/series/0/Modality", "^PET$", "Modality: expected a pattern that matches PT, as DICOM"),
        ("phantom/annotation/series/0/Modality", "^MR$", "expected a pattern that matches RTSTRUCT or SEG, as DICOM"),
        (
            "phantom/modalities/t2fs/series",
            [{"Modality": "^MR$", "SeriesDescription": "t1", "sequence": "t2fs"}],
            "modalities.t2fs.series.0: expected a rule that no other image has, got that of modalities.t1",
        ),
        ("phantom/annotation/rois/mass", "gtv_edema", "rois.mass: expected a pattern of its own, got that of edema"),
        ("phantom/annotation/rois/mass", " ", "rois.mass: expected a regular expression, got an empty one"),
        # paths
        (
            "brats/modalities/t1/file",
            ["/data/{case}.nii"],
            "t1.file.0: expected a path below the raw folder, got an abs",
        ),
        ("brats/modalities/t1/file", ["C:/{case}.nii"], "expected a path below the raw folder, got an absolute path"),
        ("brats/modalities/t1/file", ["~/{case}.nii"], "expected a path below the raw folder, got an absolute path"),
        ("brats/modalities/t1/file", ["../{case}.nii"], "got a path with `..`, which leaves the folder"),
        ("brats/modalities/t1/file", ["./{case}.nii"], "got a path with an empty name or `.` in it"),
        ("brats/modalities/t1/file", ["a//{case}.nii"], "got a path with an empty name or `.` in it"),
        ("brats/modalities/t1/file", ["a\\{case}.nii"], "got a backslash; write / between folders"),
        ("brats/modalities/t1/file", [" {case}.nii"], "got spaces around it"),
        ("brats/modalities/t1/file", ["a.nii"], "got one without {case}, which is the same file for all"),
        ("brats/modalities/t1/file", ["{case}/{Case}.nii"], "got `{`, which is taken as it is; only {case} and *"),
        ("brats/modalities/t1/file", ["{case}/[ab].nii"], "got `[`, which is taken as it is"),
        ("brats/modalities/t1/file", ["**/{case}.nii"], "got `**`; write one * for each folder"),
        ("brats/modalities/t1/file", ["{case}/t1.mha"], "got another ending than .nii or .nii.gz"),
        (
            "brats/modalities/t1/file",
            ["{case}/{case}-t1c.nii.gz"],
            "modalities.t1c.file.0: expected an image of its own, got that of modalities.t1; correct one",
        ),
        ("msd_brats/modalities/t1/channel", 2, "modalities.t1c.file.0: expected an image of its own, got that of"),
        (
            "brats/annotation/file",
            ["{case}/{case}-t1c.nii.gz"],
            "annotation.file.0: expected an image of its own, got that of modalities.t1c",
        ),
        (
            "phantom/source",
            {"kind": "copy", "mirror": "../x"},
            "source.mirror: expected a name below the folder, got a p",
        ),
        ("lits/source/folder", "/x", "datasets.lits.source.folder: expected a name below the folder, got an absolute"),
        (
            "brats/source/only",
            ["a/b*"],
            "source.only: expected a name below the folder, got a slash, and only the first",
        ),
    ],
)
def test_a_block_of_a_dataset_that_cannot_mean_what_it_says_is_refused(place, value, sentence):
    config = change(CONFIG, f"datasets/{place}", value)
    with pytest.raises(BadInput) as refusal:
        check_catalogues(json.loads(json.dumps(config)), CODE)
    assert sentence in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (
            "conditions/no-pet/absent",
            ["pett"],
            "conditions.no-pet.absent: 'pett' is no modality of any dataset, did you",
        ),
        (
            "conditions/clean",
            {"absent": ["pet"]},
            "conditions.clean: expected nothing, got absent; clean alone changes",
        ),
        (
            "conditions/no-pet",
            {},
            "conditions.no-pet: expected what it withholds or corrupts, got nothing; clean alone",
        ),
        ("conditions/streaks/modalities", ["pet"], "conditions.streaks: expected modalities of the kinds ct, got pet"),
        ("conditions/gauss-0.3/settings/noise_sd", -0.3, "noise_sd: expected a number of at least 0, got -0.3."),
        (
            "conditions/missing-slices/settings/share",
            20,
            "share: expected a number of at least 0 and at most 1, got 20.",
        ),
        ("conditions/drift/settings/amplitude", 1, "amplitude: expected a number of at least 0 and below 1, got 1."),
        ("conditions/gain-down/settings/change", -1, "change: expected a number above -1, got -1."),
        (
            "conditions/ghosting/settings/ghosts",
            2.5,
            "ghosts: expected a whole number of at least 2 and at most 1000, got 2.5.",
        ),
        (
            "models/unet2d_tiny_scaled/predictions_of",
            "unett",
            "models.unet2d_tiny_scaled: unet2d_tiny_scaled scales the predictions of unett",
        ),
        ("models/unet2d_paper/settings/chanels", [1], "models.unet2d_paper.settings: unet2d has no argument 'chanels'"),
        (
            "models/diffufusemed_tiny_sampled/settings",
            {},
            "models.diffufusemed_tiny_sampled.samples: expected settings with `diffusion: renoise`",
        ),
        (
            "models/unet2d_tiny/training/corruption",
            {"probability": 0.5, "together": 0, "conditions": []},
            "training.corruption.conditions: expected conditions to corrupt images with, got none",
        ),
    ],
)
def test_a_block_that_no_study_names_is_checked_too(place, value, sentence):
    with pytest.raises(BadInput) as refusal:
        check_catalogues(json.loads(json.dumps(change(CONFIG, place, value))), CODE)
    assert sentence in str(refusal.value)


def test_an_image_of_a_file_with_several_has_a_channel():
    datasets = copy.deepcopy(CONFIG["datasets"])
    for name, other in (("t1", "t1c"), ("flair", "t1")):
        block = copy.deepcopy(datasets["msd_brats"])
        del block["modalities"][name]["channel"]
        with pytest.raises(
            BadInput, match=rf"modalities\.{other if name == 't1' else name}\.file.0: expected an image of"
        ):
            check_dataset("msd_brats", block)


def test_all_catalogues_of_the_repository_pass():
    check_catalogues(json.loads(json.dumps(CONFIG)), CODE)


def test_patterns_that_differ_in_the_case_of_an_escape_are_two():
    rois = {"mass": r"^GTV\d", "edema": r"^GTV\D"}
    check_dataset("phantom", change(CONFIG, "datasets/phantom/annotation/rois", rois)["datasets"]["phantom"])


def test_a_pattern_of_contours_may_say_that_several_are_one_label():
    rois = {"edema": "GTV_Edema", "mass": {"pattern": "GTV_Mass", "several": "union"}}
    check_dataset("phantom", change(CONFIG, "datasets/phantom/annotation/rois", rois)["datasets"]["phantom"])


def test_every_setting_of_a_corruption_has_a_range():
    for corruption in [*CORRUPTIONS, *REMOVALS]:
        reads = settings_read(CODE, corruption)
        assert {*reads.required, *reads.optional} <= set(RANGES)


def test_keywords_of_dicom_are_those_of_its_dictionary():
    assert dicom_keywords()["SeriesDescription"] == "LO"
    assert len(dicom_keywords()) > 5000


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


def test_the_reference_is_registered_to_nothing_so_it_follows_none():
    config = change(CONFIG, "datasets/phantom/modalities/t2fs", {"kind": "mr", "normalization": {"method": "zscore"}})
    refused(
        change(config, "datasets/phantom/modalities/t1/follows", "ct"), "modalities.t1.follows: expected none, as t1"
    )


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("phantom/spacing_mm", [2, 2, 0], "datasets.phantom.spacing_mm.2: 0 is less than or equal to the minimum of 0"),
        ("phantom/spacing_mm", [2, 2], "datasets.phantom.spacing_mm: [2, 2] is too short"),
        ("phantom/spacing_mm", [2, 2, float("nan")], "datasets.phantom.spacing_mm.2: nan is not of type 'number'"),
        ("phantom/spacing_mm", [2, 2, True], "datasets.phantom.spacing_mm.2: True is not of type 'number'"),
        ("phantom/labels", {"mass": 256}, "datasets.phantom.labels.mass: 256 is greater than the maximum of 255"),
        ("phantom/labels", {"mass": 0}, "datasets.phantom.labels.mass: 0 is less than the minimum of 1"),
        ("phantom/labels", {"mass": 1.0}, "datasets.phantom.labels.mass: 1.0 is not of type 'integer'"),
        ("phantom/labels", {"mass": True}, "datasets.phantom.labels.mass: True is not of type 'integer'"),
        ("phantom/labels", {"mass": "1"}, "datasets.phantom.labels.mass: '1' is not of type 'integer'"),
        ("phantom/labels", {}, "datasets.phantom.labels: {} should be non-empty"),
        ("phantom/labels", {"m\u0430ss": 1}, "datasets.phantom.labels: "),
        ("phantom/regions/mass", [], "datasets.phantom.regions.mass: [] should be non-empty"),
        ("phantom/regions/mass", [1, 1], "datasets.phantom.regions.mass: [1, 1] has non-unique elements"),
        ("phantom/regions", {"mass\n": [1]}, "datasets.phantom.regions: 'mass\\n' does not match"),
        ("phantom/refrence", "t1", "'refrence' was unexpected), did you mean 'reference'?; known are: title, source"),
        ("phantom/one", 1, "datasets.phantom: Additional properties are not allowed ('one' was unexpected); known are"),
        ("phantom/modalities/ct/folows", "t1", "('folows' was unexpected), did you mean 'follows'?; known are: series"),
        ("phantom/modalities/ct/kind", "tc", "datasets.phantom.modalities.ct.kind: 'tc' is not one of ['pet', 'ct', "),
        ("phantom/modalities/ct/kind", "mri", "'mri' is not one of ['pet', 'ct', 'mr'], did you mean 'mr'?"),
        ("msd_brats/modalities/t1/channel", -1, "modalities.t1.channel: -1 is less than the minimum of 0"),
        ("phantom/modalities/t1/series/0/seriesDescription", "t1", "did you mean 'SeriesDescription'? known are DICOM"),
        ("phantom/registration", {"gate": {"overlap": 50}}, "gate.overlap: 50 is greater than the maximum of 1"),
        ("phantom/registration", {"gate": {"folded": -1}}, "gate.folded: -1 is less than the minimum of 0"),
        ("phantom/registration", {"gate": {"overlp": 1}}, "('overlp' was unexpected), did you mean 'overlap'?"),
        ("phantom/source/kind", "fantom", "source.kind: 'fantom' is not one of ['phantom', 'archive', 'idc', 'synapse"),
        ("phantom/no_lesion", "", "datasets.phantom"),
        ("phantom/modalities/ct/normalization/clip", [0, 101], "normalization.clip.1: 101 is greater than the maximum"),
        ("phantom/modalities/ct/normalization", {"method": "window"}, "normalization: 'low' is a required property"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_schema(place, value, sentence):
    with pytest.raises(BadInput) as refusal:
        check_form(change(CONFIG["datasets"], place, value), SCHEMAS["datasets"], where="datasets")
    assert sentence in str(refusal.value)
    assert str(refusal.value).isprintable()


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


@pytest.mark.parametrize("text", ["1e0", "1_0", "+1", " 1"])
def test_a_number_in_an_odd_form_is_answered_with_the_plain_one(text):
    with pytest.raises(BadInput, match=r"is not of type 'integer'; write the number in plain digits, without quotes\."):
        check_form(change(CONFIG, "study/overlays", text), SCHEMAS["config"], where="config")


@pytest.mark.parametrize("value", [datetime.date(2026, 11, 29), {1, 2}, b"x"])
def test_a_value_that_is_no_text_or_number_is_refused(value):
    with pytest.raises(BadInput, match=r"config: expected texts, numbers, lists and mappings"):
        check_form(change(CONFIG, "study/name", value), SCHEMAS["config"], where="config")


@pytest.mark.parametrize(
    ("part", "value"),
    [("folds", [0, True]), ("folds", [1.0]), ("folds", [-1]), ("seeds", [0, 0]), ("seeds", []), ("name", "x\n")],
)
def test_a_number_or_name_of_the_study_that_cannot_be_is_refused(part, value):
    with pytest.raises(BadInput, match=rf"config\.study\.{part}"):
        check_form(change(CONFIG, f"study/{part}", value), SCHEMAS["config"], where="config")


def test_another_text_in_place_of_a_number_is_not_blamed_on_the_command_line():
    with pytest.raises(BadInput, match=r"config\.study\.overlays: 'many' is not of type 'integer'\."):
        check_form(change(CONFIG, "study/overlays", "many"), SCHEMAS["config"], where="config")
