"""Train one model on one fold with one seed."""

from time import time

from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.plan.plans import make_plan
from diffufuse.predict.fusing import fuse_scan
from diffufuse.predict.inference import predict_case
from diffufuse.store.case import read_all_prepared
from diffufuse.store.fused import records_in
from diffufuse.store.index import PATCHES
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.track.live import follow_live
from diffufuse.train.run import train_run, write_run
from diffufuse.train.time_limit import queue_again_before_time_limit

with job_log(snakemake.log[0]):
    source, params, started = snakemake.input, snakemake.params, time()
    data = {name: params[name] for name in ("modalities", "regions", "conditions", "study_seed")}
    known = {"block": params.model, "constants": read_record(source.constants)}
    cohort = Cohort(tuple(Case(**case, fold=None, site="") for case in params.split))
    plan = make_plan(cohort, **snakemake.wildcards, **known, **data)
    cases, index = read_all_prepared(records_in(source.cases)), read_table(source.index, PATCHES)
    follow = follow_live(params.store, plan, started_unix_s=started)
    settings = {"checkpoints": params.checkpoints, "code": params.code, "started_unix_s": started}
    queue_again_before_time_limit()
    run = train_run(plan, cases, index, predict=predict_case, fuse=fuse_scan, follow=follow, **settings)
    write_run(run, **snakemake.output)
