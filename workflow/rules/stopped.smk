# The end of a run that could not bring every case through: which, why, and how to go on without them.
import sys

from diffufuse.study.stopped import farewell, stopped_cases

STAGES_OF_A_CASE = {
    "ingest": (
        "results/ingest/{dataset}/{case}",
        "results/logs/ingest/{dataset}/{case}.log",
    ),
    "prepare": (
        "results/prepare/{dataset}/{case}/{case}.json",
        "results/logs/prepare/{dataset}/{case}.log",
    ),
}


onerror:
    told = farewell(
        [
            entry
            for dataset, cohort in COHORTS.items()
            for entry in stopped_cases(dataset, cohort, stages=STAGES_OF_A_CASE)
        ],
        sheet="config/cohorts/{dataset}.tsv",
    )
    sys.stderr.write(f"\n{told}\n" if told else "")
