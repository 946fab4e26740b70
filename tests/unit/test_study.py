import pytest

from diffufuse.errors import BadInput
from diffufuse.study import check_form, check_study

HEADER = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sts.tsv").write_text(HEADER + "A\tA\t0\t-\t\t-\nB\tB\t1\t-\t\t-\n")
    return {
        "study": {"datasets": ["sts"], "conditions": ["clean"], "models": ["unet"], "folds": [0], "seeds": [0]},
        "datasets": {"sts": {"modalities": {"pet": {}, "ct": {}}}},
        "conditions": {"clean": {}, "no-t2": {"absent": ["t2"]}, "nothing": {"absent": ["pet", "ct"]}},
        "models": {"unet": {}},
    }


def test_a_sound_study_gives_its_cohorts(config, tmp_path):
    assert check_study(config, tmp_path)["sts"].names == ["A", "B"]


@pytest.mark.parametrize(
    ("part", "names", "told"),
    [
        ("models", ["unet3000"], r"'unet3000' is not in config/models.yaml; known are: unet\."),
        ("conditions", ["no-pett"], "known are: clean, no-t2, nothing"),
        ("datasets", ["stss"], r"known are: sts\."),
        ("conditions", ["no-t2"], "no-t2 speaks of t2, which sts does not have; known are: pet, ct"),
        ("conditions", ["nothing"], "leaves no modality"),
        ("folds", [7], "fold 7 has no cases .* known are: 0, 1"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(config, tmp_path, part, names, told):
    config["study"][part] = names
    with pytest.raises(BadInput, match=told):
        check_study(config, tmp_path)


SCHEMA = {
    "additionalProperties": {
        "additionalProperties": False,
        "properties": {"steps": {"type": "integer", "minimum": 1}, "batch": {"type": "integer"}},
        "required": ["steps"],
    }
}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"unet": {"steps": 1, "bach": 2}}, r"models.unet: .*'bach' was unexpected\); known are: steps, batch\."),
        ({"unet": {"steps": 0}}, "models.unet.steps: 0 is less than the minimum of 1"),
        ({"unet": {"steps": "many"}}, "models.unet.steps: 'many' is not of type 'integer'"),
        ({"unet": {}}, "models.unet: 'steps' is a required property"),
    ],
)
def test_another_form_is_refused_with_its_place(content, told):
    with pytest.raises(BadInput, match=told):
        check_form(content, SCHEMA, where="models")


def test_the_right_form_is_accepted():
    check_form({"unet": {"steps": 3}}, SCHEMA, where="models")
