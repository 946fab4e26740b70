"""Predict the test cases of one fold under one condition."""

from diffufuse.conditions import apply_condition
from diffufuse.files import atomic_folder
from diffufuse.inference import predict_case, write_prediction
from diffufuse.logs import job_log
from diffufuse.plans import load_model, plan_modalities
from diffufuse.prepared import read_all_prepared
from diffufuse.tables import read_record
from diffufuse.volumes import Volume

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    plan, names = read_record(snakemake.input.plan), snakemake.wildcards
    network = load_model(plan, snakemake.input.weights, settings=snakemake.params.settings)
    for case in read_all_prepared(snakemake.input.cases, snakemake.input.slices).values():
        acquired = case.scan
        scan = apply_condition(
            acquired,
            snakemake.params.condition,
            modalities=plan_modalities(plan),
            spacing_mm=Volume(acquired.body, case.affine).spacing_mm,
            study_seed=snakemake.params.study_seed,
            names=(names.dataset, case.name, names.condition),
        )
        write_prediction(predict_case(network, scan, plan), case, folder)
