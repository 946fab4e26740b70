"""Predict the test cases of one fold under one condition."""

from diffufuse.conditions import apply_condition
from diffufuse.files import atomic_folder
from diffufuse.inference import predict_case, write_prediction
from diffufuse.logs import job_log
from diffufuse.plans import load_model
from diffufuse.prepared import read_all_prepared
from diffufuse.tables import read_record

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    plan, names = read_record(snakemake.input.plan), snakemake.wildcards
    network = load_model(plan, snakemake.input.weights)
    for case in read_all_prepared(snakemake.input.cases, snakemake.input.slices).values():
        scan = apply_condition(
            case.scan,
            snakemake.params.condition,
            modalities=case.slices.modalities,
            study_seed=snakemake.params.study_seed,
            names=(names.dataset, case.name, names.condition),
        )
        write_prediction(predict_case(network, scan, plan), case, folder)
