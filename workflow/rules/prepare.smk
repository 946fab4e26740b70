# Every case on one grid: registered to its reference modality, bias-corrected, with body and presence masks. The record of
# a case holds the SHA-256 of its store, and a list of cases that of their records: later stages depend on lists alone.


rule prepare:
    input:
        STUDY.prepared.files,
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


rule list_cases:
    input:
        STUDY.prepared.listed,
    output:
        "results/prepare/{dataset}/case_lists/{listed}.json",
    log:
        "results/logs/prepare/{dataset}/case_lists/{listed}.log",
    params:
        code=STUDY.code_of("list_cases.py"),
    message:
        "List the {wildcards.listed} cases of {wildcards.dataset}."
    script:
        "../scripts/list_cases.py"


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
