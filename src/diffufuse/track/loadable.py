"""A trained model as `mlflow.pyfunc.load_model` gives it: made of its plan and its weights, without pickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from diffufuse.files.records import read_record
from diffufuse.plan.plans import load_model
from diffufuse.predict.fusing import as_scan, follower_plan, fuse_scan, fuses, only_fuses
from diffufuse.predict.inference import predict_case
from diffufuse.store.scan import Scan
from diffufuse.study.inputs import FUSED


class TrainedModel:
    """A trained model that takes what its signature names."""

    def __init__(self, network: nn.Module, plan: Mapping[str, Any]) -> None:
        self.network, self.plan = network, plan

    def predict(
        self, model_input: Mapping[str, np.ndarray], params: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """The fused image, if the model makes one, and the probability of every region.

        Args:
            model_input: the arrays of one `Scan`: `images` (M, X, Y, Z) in physical units, `presence` (M, X, Y, Z) and
                `body` (X, Y, Z), on the grid that the model was trained on.
            params: none are known.

        Returns:
            (X, Y, Z) float32 in 0..1 each; a mask is a probability of one half or more.
        """
        scan = Scan(**{name: np.asarray(model_input[name]) for name in ("images", "presence", "body")})
        if not (fuses(self.network) or only_fuses(self.plan)):
            return predict_case(self.network, scan, self.plan)
        image, present = fuse_scan(self.network, scan, self.plan)
        if only_fuses(self.plan):
            return {FUSED: image}
        follower: Any = self.network.follower
        return {FUSED: image, **predict_case(follower, as_scan(image, present, scan.body), follower_plan(self.plan))}


def _load_pyfunc(path: str) -> TrainedModel:
    """Load a model of a folder with `plan.json` and its weights; MLflow calls it by this name."""
    plan = read_record(Path(path) / "plan.json")
    return TrainedModel(load_model(plan, path), plan)
