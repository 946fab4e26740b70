# Every case on one grid: registered to its reference modality, bias-corrected, with body and presence masks. The record of
# a case holds the SHA-256 of its store, so that later stages depend on the record alone.


rule prepare:
    input:
        [
            f"results/prepare/{dataset}/{case}/{case}_registration.png"
            for dataset, case in STUDY.cases
        ],
        expand("results/prepare/{dataset}/pairs.json", dataset=STUDY.pair_sets),
        expand("results/prepare/{dataset}/patches.parquet", dataset=STUDY.cohorts),
    message:
        "All cases are prepared."


rule prepare_case:
    input:
        "results/ingest/{dataset}/{case}.json",
    output:
        images=directory("results/prepare/{dataset}/{case}/images"),
        labels="results/prepare/{dataset}/{case}/{case}_labels.nii.gz",
        body="results/prepare/{dataset}/{case}/{case}_body.nii.gz",
        masks=directory("results/prepare/{dataset}/{case}/masks"),
        transforms=directory("results/prepare/{dataset}/{case}/transforms"),
        slices="results/prepare/{dataset}/{case}/{case}_slices.b2nd",
        record="results/prepare/{dataset}/{case}/{case}.json",
        picture=report(
            "results/prepare/{dataset}/{case}/{case}_registration.png",
            caption="../report/registration.rst",
            category="3 Registration",
            subcategory="{dataset}",
            labels={"case": "{case}"},
        ),
    log:
        text="results/logs/prepare/{dataset}/{case}.log",
        picture="results/logs/prepare/{dataset}/{case}.png",
    resources:
        mem_mb=growing(2000),
        runtime=growing(15),
    params:
        modalities=STUDY.parameters.geometry,
        registration=STUDY.parameters.registration,
        code=STUDY.code_of("prepare_case.py"),
    message:
        "Register and prepare {wildcards.case} of {wildcards.dataset}."
    script:
        "../scripts/prepare_case.py"


rule prepare_pairs:
    input:
        manifest="data/raw/{dataset}.manifest.tsv",
    output:
        folder=directory("results/prepare/{dataset}/pairs"),
        record="results/prepare/{dataset}/pairs.json",
    log:
        "results/logs/prepare/{dataset}/pairs.log",
    params:
        block=STUDY.parameters.reading,
        parts=STUDY.parameters.parts,
        code=STUDY.code_of("prepare_pairs.py"),
    message:
        "Read and store the pairs of {wildcards.dataset}."
    script:
        "../scripts/prepare_pairs.py"


rule index_slices:
    input:
        STUDY.prepared.all,
    output:
        "results/prepare/{dataset}/patches.parquet",
    log:
        "results/logs/prepare/{dataset}/patches.log",
    params:
        regions=lookup("{dataset}/regions", within=config["datasets"], default={}),
        code=STUDY.code_of("index_slices.py"),
    message:
        "Index the slices of {wildcards.dataset}."
    script:
        "../scripts/index_slices.py"
