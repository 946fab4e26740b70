"""The gate of every trained fuser: on phantom pairs it keeps more of the edges of both sources than their average."""

from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]


def test_every_trained_fuser_beats_the_average():
    study = yaml.safe_load((ROOT / "config" / "fusion_phantom.yaml").read_text())["study"]
    models = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())["models"]
    trained = [name for name in study["models"] if models[name]["training"]["regimen"] != "fixed"]
    values = pd.read_csv(ROOT / "docs" / "results" / "fusion_phantom.csv", comment="#")
    qabf = values[values["metric"] == "qabf"].groupby("model")["value"].mean()
    # Every architecture that learns to fuse without masks is in the study.
    fusers = {block["architecture"] for block in models.values() if block.get("task") == "fuse" and "training" in block}
    assert fusers == {models[name]["architecture"] for name in study["models"]}
    assert len(trained) == 8
    assert (qabf[trained] > qabf["average"]).all(), qabf.sort_values()
