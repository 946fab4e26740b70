import pytest

from diffufuse.errors import BadInput
from diffufuse.study import check_form, check_study

HEADER = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sts.tsv").write_text(HEADER + "A\tA\t0\t-\t\t-\nB\tB\t1\t-\t\t-\n")
    return {
        "study": {"datasets": ["sts"], "conditions": ["clean"], "models": ["unet"], "folds": [0], "seeds": [0]},
        "datasets": {"sts": {"modalities": {"pet": {"kind": "pet"}, "ct": {"kind": "ct"}}}},
        "conditions": {
            "clean": {},
            "no-t2": {"absent": ["t2"]},
            "nothing": {"absent": ["pet", "ct"]},
            "gauss": {"corruption": "gaussian_noise"},
            "rician": {"corruption": "rician_noise", "kinds": ["mr"]},
            "poisson-ct": {"corruption": "poisson_noise", "kinds": ["pet"], "modalities": ["ct"]},
            "poisson": {"corruption": "poisson_noise", "kinds": ["pet"]},
        },
        "models": {
            "unet": {"training": {"corruption": {"conditions": ["gauss"]}}},
            "greedy": {"training": {"corruption": {"conditions": ["gauss", "gauss-7"]}}},
            "harmless": {"training": {"corruption": {"conditions": ["clean"]}}},
            "variant": {"weights_of": "unet"},
            "orphan": {"weights_of": "unett"},
            "second_hand": {"weights_of": "variant"},
            "greedy_variant": {"weights_of": "greedy"},
        },
    }


def test_a_sound_study_gives_its_cohorts(config, tmp_path):
    assert check_study(config, tmp_path)["sts"].names == ["A", "B"]


def test_variants_corruptions_and_a_model_to_compare_with_are_accepted(config, tmp_path):
    config["study"] |= {"models": ["unet", "variant"], "conditions": ["gauss", "poisson"], "compare_with": "variant"}
    assert set(check_study(config, tmp_path)) == {"sts"}


@pytest.mark.parametrize(
    ("part", "names", "told"),
    [
        ("models", ["unet3000"], "'unet3000' is not in config/models.yaml; known are: unet, greedy"),
        ("conditions", ["no-pett"], "known are: clean, no-t2, nothing, gauss"),
        ("datasets", ["stss"], r"known are: sts\."),
        ("conditions", ["no-t2"], "no-t2 speaks of t2, which sts does not have; known are: pet, ct"),
        ("conditions", ["nothing"], "leaves no modality"),
        (
            "conditions",
            ["rician"],
            r"rician corrupts no modality of sts; .* kind mr, known are: pet \(pet\), ct \(ct\)",
        ),
        ("conditions", ["poisson-ct"], "poisson-ct corrupts no modality of sts"),
        (
            "models",
            ["orphan"],
            "orphan uses the weights of unett, which .* does not train; known are: unet, greedy, harm",
        ),
        ("models", ["second_hand"], "second_hand uses the weights of variant, which .* does not train"),
        (
            "models",
            ["greedy"],
            "models.greedy.training.corruption.conditions: 'gauss-7' is not .*; known are: gauss, rician",
        ),
        ("models", ["greedy_variant"], "models.greedy.training.corruption.conditions: 'gauss-7'"),
        ("models", ["harmless"], "'clean' is not a condition of config/conditions.yaml with a corruption"),
        ("compare_with", "greedy", r"'greedy' is not a model of the study; known are: unet\."),
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
