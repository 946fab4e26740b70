"""What a trained model takes and gives, as MLflow states it, with an example of made-up tissues, never a patient's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from diffufuse.store.scan import Scan
from diffufuse.study.inputs import FUSED, fuses
from diffufuse.types import Mask

EXAMPLE_GRID = (12, 12, 4)
AIR, FAT, MUSCLE, TUMOR = range(4)
# What they look like: HU, SUV, MR weighted by T2 in no unit; gray levels where the kind is another.
TISSUES = {"ct": (-1000, -102, 55, 40), "pet": (0, 0.25, 0.65, 5.0), "mr": (0, 576, 127, 331)}
LEVELS = (0, 0.9, 0.4, 0.7)
UNITS = {"ct": "HU", "pet": "SUV by body weight", "mr": "any, as it is normalized", "us": "any, as it is normalized"}
GRAY = "gray levels in 0..1"
ANY = (-1, -1, -1)


def answers_of(plan: Mapping[str, Any]) -> list[str]:
    """The names of what a model answers with: its fused image, if it makes one, and its regions."""
    return [FUSED] * fuses(plan["block"]) + [region["name"] for region in plan["regions"]]


def signature_of(plan: Mapping[str, Any]) -> ModelSignature:
    """The tensors that a model takes, those of a `Scan`, and one (X, Y, Z) for each of its answers."""
    number, truth, modalities = np.dtype(np.float32), np.dtype(bool), len(plan["modalities"])
    taken: list[Any] = [
        TensorSpec(number, (modalities, *ANY), "images"),
        TensorSpec(truth, (modalities, *ANY), "presence"),
        TensorSpec(truth, ANY, "body"),
    ]
    return ModelSignature(Schema(taken), Schema([TensorSpec(number, ANY, name) for name in answers_of(plan)]))


def example_of(plan: Mapping[str, Any]) -> Scan:
    """A scan that a model takes: a cylinder of muscle in fat with a ball of tumor, in the units of its modalities."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in EXAMPLE_GRID), indexing="ij")
    tissues = np.full(EXAMPLE_GRID, FAT)
    tissues[np.hypot(x, y) < 0.8] = MUSCLE
    tissues[(x - 0.3) ** 2 + y**2 + z**2 < 0.4**2] = TUMOR
    body: Mask = np.hypot(x, y) < 1
    tissues[~body] = AIR
    images = np.stack([_image(tissues, modality["kind"]) for modality in plan["modalities"]])
    return Scan(images, np.ones(images.shape, bool), body)


def unit_of(kind: str) -> str:
    """The unit in which a model takes a modality of this kind."""
    return UNITS.get(kind, GRAY)


def _image(tissues: np.ndarray, kind: str) -> Float32[np.ndarray, "x y z"]:
    return np.array(TISSUES.get(kind, LEVELS), np.float32)[tissues]
