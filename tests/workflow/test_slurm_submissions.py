"""What `snakemake --profile slurm` asks the cluster for, in the words of `sbatch`; nothing is submitted."""

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from study_jobs import codes_of_rules

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
ON_A_GPU = {"train_model", "predict_cases", "measure_efficiency"}
# They need the network or the database of MLflow, or are of no study of cases.
ON_THE_LOGIN_NODE = {"fetch_dataset", "draft_cohort", "plan_fetch", "track_study", "prepare_pairs"}
CLUSTER = {"DIFFUFUSE_PARTITION": "cpu", "DIFFUFUSE_GPU_PARTITION": "gpu", "DIFFUFUSE_ACCOUNT": "med"}


def submissions(folder, *arguments, **cluster):
    """The jobs of the default study as (rules, sbatch call)."""
    for name in ("Snakefile", "config", "workflow", "src", "profiles", "slurm"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIFFUFUSE_")} | cluster
    recorder = [sys.executable, ROOT / "tests" / "slurm_submissions.py", folder / "calls.jsonl", *arguments]
    done = subprocess.run(recorder, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    return [(set(call["rules"]), call["call"], len(call["rules"])) for call in calls]


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    return submissions(tmp_path_factory.mktemp("cluster"), **CLUSTER)


def flag(call, name):
    return re.search(rf"(?:^| ){name}[= ](\S+)", call)[1]


def test_every_rule_is_submitted_that_computes(submitted):
    assert {rule for rules, *_ in submitted for rule in rules} == set(codes_of_rules()) - ON_THE_LOGIN_NODE


def test_a_gpu_is_held_by_the_rules_that_use_it_and_by_no_other(submitted):
    for rules, call, _ in submitted:
        assert rules <= ON_A_GPU or not rules & ON_A_GPU
        asked = (flag(call, "-p"), "--gres=gpu:1" in call)
        assert asked == (("gpu", True) if rules <= ON_A_GPU else ("cpu", False)), call
        assert flag(call, "-A") == "med"


def test_a_study_is_a_few_dozen_submissions_of_many_steps(submitted):
    steps = sum(number for *_, number in submitted)
    assert len(submitted) < 50 < 180 < steps
    assert collections.Counter(number for rules, _, number in submitted if rules == {"train_model"}) == {1: 8}


def test_no_job_asks_for_more_than_a_small_node_has(submitted):
    for _, call, _ in submitted:
        assert int(flag(call, "--cpus-per-task")) <= (os.cpu_count() or 1)
        assert 0 < int(flag(call, "--mem")) <= 16_000
        assert 0 < int(flag(call, "-t")) <= 24 * 60


def test_costs_are_measured_alone_on_a_node_by_one_thread(submitted):
    alone = [call for rules, call, _ in submitted if rules == {"measure_efficiency"}]
    assert len(alone) == 4
    for call in alone:
        assert "--exclusive" in call
        assert flag(call, "--cpus-per-task") == "1"
    assert sum("--exclusive" in call for _, call, _ in submitted) == len(alone)


def test_a_second_attempt_gets_twice_the_memory_and_time(submitted, tmp_path):
    again = submissions(tmp_path, "--attempt", "2", **CLUSTER)
    for name in ("--mem", "-t"):
        first, second = (
            next(int(flag(call, name)) for rules, call, _ in jobs if rules == {"train_model"})
            for jobs in (submitted, again)
        )
        assert second == 2 * first


def test_a_cluster_without_gpus_names_or_account_is_asked_for_none(tmp_path):
    for _, call, _ in submissions(tmp_path, DIFFUFUSE_GPU=""):
        assert "gres" not in call
        assert (flag(call, "-p"), flag(call, "-A")) == ("None", "None")
