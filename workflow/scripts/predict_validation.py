"""Predict the validation cases of one fold, as they are."""

from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import read_record
from diffufuse.logs import job_log
from diffufuse.plan.plans import load_model
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.sampling import predict_sampled
from diffufuse.store.case import read_all_prepared

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    plan, names = read_record(snakemake.input.plan), snakemake.wildcards
    network = load_model(plan, snakemake.input.weights, settings=snakemake.params.settings)
    for case in read_all_prepared(snakemake.input.cases, snakemake.input.slices).values():
        probabilities, _ = predict_sampled(
            network,
            case.scan,
            plan,
            samples=snakemake.params.samples,
            spacing_mm=case.spacing_mm,
            names=(names.dataset, case.name, "validation"),
        )
        write_prediction(probabilities, case, folder)
