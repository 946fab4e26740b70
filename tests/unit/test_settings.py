"""The settings of a model are arguments of its architecture."""

from pathlib import Path

import pytest
import yaml

from diffufuse.errors import BadInput
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.models import MODELS
from diffufuse.study.code_digest import Code
from diffufuse.study.metric_names import metric_names
from diffufuse.study.settings import arguments_of, check_settings

ROOT = Path(__file__).parents[2]
CODE = Code(ROOT / "src", ROOT / "workflow" / "scripts")
CATALOGUE = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())["models"]
WITH_SETTINGS = {name: block for name, block in CATALOGUE.items() if "settings" in block}


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_every_block_of_the_catalogue_passes(name):
    check_settings(name, CATALOGUE[name], CATALOGUE, CODE)


@pytest.mark.parametrize("architecture", MODELS)
def test_arguments_read_from_source_are_those_of_the_class(architecture):
    wanted = set(MODELS[architecture].__init__.__kwdefaults__ or {})
    arguments = arguments_of(CODE, "diffufuse.models", MODELS[architecture].__name__)
    assert set(arguments.names) - set(arguments.required) == wanted
    assert "modalities" not in arguments.names


def test_a_typing_error_is_refused_with_the_near_name():
    block = CATALOGUE["unet2d_tiny"] | {"settings": {"chanels": [4, 8], "groups": 2}}
    with pytest.raises(
        BadInput, match=r"models\.typo\.settings: unet2d has no argument 'chanels', did you mean 'channels'"
    ):
        check_settings("typo", block, {"typo": block}, CODE)


def test_a_setting_at_test_time_is_checked_against_the_model_whose_weights_are_used():
    block = {"weights_of": "unet2d_tiny", "settings": {"temperature": 0.0}}
    with pytest.raises(BadInput, match=r"models\.variant\.settings: unet2d has no argument 'temperature'"):
        check_settings("variant", block, CATALOGUE | {"variant": block}, CODE)


def test_an_argument_without_a_default_must_be_set():
    block = CATALOGUE["unet2d_tiny"] | {"settings": {}}
    with pytest.raises(BadInput, match=r"models\.bare\.settings: unet2d needs channels"):
        check_settings("bare", block, {"bare": block}, CODE)


def test_an_unknown_architecture_is_refused_with_the_near_name():
    block = CATALOGUE["unet2d_tiny"] | {"architecture": "unet_2d"}
    with pytest.raises(BadInput, match=r"'unet_2d' is not in src/diffufuse/models/__init__\.py, did you mean 'unet2d'"):
        check_settings("unknown", block, {"unknown": block}, CODE)


def test_metrics_read_from_source_are_those_of_the_catalogue():
    assert metric_names(CODE) == list(ALL_METRICS)
