"""Predict the lesion in all cases of a dataset with a model that was trained on another."""

from diffufuse.conditions.apply import apply_condition
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import read_record
from diffufuse.logs import job_log
from diffufuse.plan.plans import load_model, plan_modalities
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.predict.sampling import predict_sampled
from diffufuse.predict.transfer import as_its_own, back_home
from diffufuse.space.volumes import Volume
from diffufuse.store.case import read_all_prepared

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    plan, wildcards, params = read_record(snakemake.input.plan), snakemake.wildcards, snakemake.params
    network = load_model(plan, snakemake.input.weights, settings=params.settings)
    own = {"trained": plan_modalities(plan), "spacing_mm": params.spacing_mm}
    for case in read_all_prepared(snakemake.input.cases, snakemake.input.slices).values():
        names, acquired = (wildcards.dataset, case.name, wildcards.condition), case.scan
        drawn = {"names": names, "study_seed": params.study_seed, "spacing_mm": case.spacing_mm}
        scan = apply_condition(acquired, params.condition, modalities=params.modalities, **drawn)
        here = Volume(acquired.body, case.affine)
        seen, grid = as_its_own(scan, here, case=case.name, tested=params.modalities, **own)
        sampled = {"samples": params.samples, "spacing_mm": grid.spacing_mm, "names": names}
        found, volumes_ml = predict_sampled(network, seen, plan, **sampled)
        write_prediction({params.lesion: back_home(found[params.learned], grid, here)}, case, folder)
        write_samples({params.lesion: volumes_ml[params.learned]}, case.name, folder)
