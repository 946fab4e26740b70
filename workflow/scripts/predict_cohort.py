"""Predict the test cases of one fold under one condition."""

from functools import partial

from diffufuse.conditions.apply import apply_condition
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import read_record
from diffufuse.logs import job_log
from diffufuse.plan.plans import load_model, plan_modalities
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.predict.sampling import predict_sampled
from diffufuse.store.case import read_all_prepared

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    plan, names, params = read_record(snakemake.input.plan), snakemake.wildcards, snakemake.params
    network = load_model(plan, snakemake.input.weights, settings=params.settings)
    circumstances = {"modalities": plan_modalities(plan), "study_seed": params.study_seed}
    for case in read_all_prepared(snakemake.input.cases, snakemake.input.slices).values():
        drawn = {"spacing_mm": case.spacing_mm, "names": (names.dataset, case.name, names.condition)}
        under = partial(apply_condition, condition=params.condition, **circumstances, **drawn)
        after = partial(under, after="normalization")
        found = predict_sampled(
            network, under(case.scan), plan, samples=params.samples, after_normalization=after, **drawn
        )
        write_prediction(found[0], case, folder)
        write_samples(found[1], case.name, folder)
