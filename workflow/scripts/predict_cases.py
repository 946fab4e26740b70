"""Predict the cases of one part of a fold under one condition."""

from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import read_record
from diffufuse.logs import job_log
from diffufuse.predict.cases import Prediction, predict_cases
from diffufuse.store.case import read_all_prepared
from diffufuse.store.fused import records_in

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    source, params, names = snakemake.input, snakemake.params, snakemake.wildcards
    plan = read_record(source.plan[0])
    prediction = Prediction.of(plan, source.weights[0], **params.model, transfer=params.transfer)
    prepared = read_all_prepared(records_in(source.cases))
    cases = {name: prepared[name] for name in params.cases}
    randomness = {"study_seed": params.study_seed, "names": (names.dataset, names.condition)}
    predict_cases(prediction, cases, folder, condition=params.condition, **randomness)
