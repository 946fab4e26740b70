# A checked configuration, the cohorts, and the form of every wildcard.
import os
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from diffufuse.errors import BadInput
from diffufuse.study.check import check_form, check_study

STUDY = config["study"]
try:
    for part in ("config", "datasets", "conditions", "models"):
        schema = yaml.safe_load(
            Path(workflow.basedir, f"workflow/schemas/{part}.schema.yaml").read_text()
        )
        check_form(config if part == "config" else config[part], schema, where=part)
    COHORTS = check_study(config, Path("config/cohorts"))
except BadInput as error:
    raise WorkflowError(str(error)) from None

# Jobs inherit these; the mirror says where data lies, not what it is, so no result may depend on it.
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true")
if "mirror" in config:
    os.environ.update(DIFFUFUSE_MIRROR=config["mirror"])


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    trained_on=r"[a-z0-9_]+",
    case=r"[A-Za-z0-9-]+",
    condition=r"[a-z0-9.-]+",
    model=r"[a-z0-9_]+",
    fold=r"[0-9]+",
    seed=r"[0-9]+",
    study=r"[a-z0-9_]+",
    figure=r"[a-z_]+",
    table=r"[a-z_]+",
