"""Train one model on one fold with one seed."""

from time import time

from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.plan.plans import make_plan
from diffufuse.predict.inference import predict_case
from diffufuse.store.case import read_all_prepared
from diffufuse.store.index import PATCHES
from diffufuse.study.cohorts import read_cohort
from diffufuse.track.live import follow_live
from diffufuse.train.run import train_run, write_run

with job_log(snakemake.log[0]):
    source, params, started = snakemake.input, snakemake.params, time()
    data = {"modalities": params.modalities, "regions": params.regions, "conditions": params.conditions}
    plan = make_plan(
        read_cohort(source.cohort),
        **snakemake.wildcards,
        study_seed=params.study_seed,
        block=params.model,
        constants=read_record(source.constants),
        **data,
    )
    cases, index = read_all_prepared(source.cases), read_table(source.index, PATCHES)
    follow = follow_live(params.store, plan, started_unix_s=started)
    run_settings = {"checkpoints": params.checkpoints, "code": params.code, "started_unix_s": started}
    write_run(train_run(plan, cases, index, predict=predict_case, follow=follow, **run_settings), **snakemake.output)
