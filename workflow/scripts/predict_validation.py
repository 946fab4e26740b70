"""Predict the validation cases of one fold, as they are."""

from diffufuse.files import atomic_folder
from diffufuse.inference import write_prediction
from diffufuse.logs import job_log
from diffufuse.plans import load_model
from diffufuse.prepared import read_all_prepared
from diffufuse.sampling import predict_sampled
from diffufuse.tables import read_record

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
