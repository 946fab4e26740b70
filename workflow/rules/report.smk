# One study's tables and figures, all computed from its one table of metrics and what its trainings cost.

CODE = ("reporting/patients.py", "statistics.py", "cases.py", "seeds.py", "tables.py")
EVIDENCE = dict(
    metrics="results/report/{study}/metrics.parquet",
    summary="results/report/{study}/summary.parquet",
    runs="results/report/{study}/runs.parquet",
    cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"]),
)
KNOWN = dict(
    conditions={name: config["conditions"][name] for name in STUDY["conditions"]},
    asked=STUDY["metrics"],
    compare_with=STUDY.get("compare_with", STUDY["models"][0]),
    study_seed=STUDY["seed"],
)
TRAINED_AS = {m: config["models"][m].get("weights_of", m) for m in STUDY["models"]}


rule report:
    input:
        overlays_of_the_study,
        expand(
            f"results/report/{STUDY['name']}/{{file}}",
            file=["summary.json", "results.md"]
            + expand("tables/{table}.csv", table=STUDY["tables"])
            + expand("figures/{figure}.png", figure=STUDY["figures"])
            + expand("gallery/{dataset}.png", dataset=STUDY["datasets"]),
        ),
    message:
        "The tables, figures and pictures of the study are there."


rule collect_metrics:
    input:
        rules.evaluate.input,
    output:
        "results/report/{study}/metrics.parquet",
    log:
        "results/logs/report/{study}/metrics.log",
    params:
        source=source_hash("tables.py"),
    message:
        "Collect the metrics of the study {wildcards.study}."
    script:
        "../scripts/collect_metrics.py"


rule collect_runs:
    input:
        rules.train.input,
    output:
        "results/report/{study}/runs.parquet",
    log:
        "results/logs/report/{study}/runs.log",
    params:
        trained_as=TRAINED_AS,
        source=source_hash("reporting/runs.py", "tables.py"),
    message:
        "Collect the runs of the study {wildcards.study}."
    script:
        "../scripts/collect_runs.py"


rule summarize_metrics:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"]),
    output:
        summary="results/report/{study}/summary.parquet",
        record="results/report/{study}/summary.json",
    log:
        "results/logs/report/{study}/summary.log",
    params:
        study_seed=lookup("study/seed", within=config),
        source=source_hash(*CODE),
    message:
        "Summarize the study {wildcards.study} over patients."
    script:
        "../scripts/summarize_metrics.py"


rule write_table:
    input:
        **EVIDENCE,
    output:
        csv="results/report/{study}/tables/{table}.csv",
        markdown="results/report/{study}/tables/{table}.md",
        html=report(
            "results/report/{study}/tables/{table}.html",
            caption="../report/table.rst",
            category="1 Results",
            labels={"result": "table: {table}"},
        ),
    log:
        "results/logs/report/{study}/{table}.log",
    params:
        known=KNOWN,
        source=source_hash("reporting", "metrics", *CODE),
    message:
        "Write the table {wildcards.table}."
    script:
        "../scripts/write_table.py"


rule write_results:
    input:
        **EVIDENCE,
    output:
        "results/report/{study}/results.md",
    log:
        "results/logs/report/{study}/results.log",
    params:
        known=KNOWN,
        tables=lookup("study/tables", within=config),
        source=source_hash("reporting", "metrics", *CODE),
    message:
        "Write the results of the study {wildcards.study} as one page."
    script:
        "../scripts/write_results.py"


rule draw_figure:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"]),
    output:
        pdf="results/report/{study}/figures/{figure}.pdf",
        png=report(
            "results/report/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="1 Results",
            labels={"result": "figure: {figure}"},
        ),
        csv="results/report/{study}/figures/{figure}.csv",
    log:
        "results/logs/report/{study}/{figure}.log",
    params:
        study_seed=lookup("study/seed", within=config),
        source=source_hash(
            "figures/{figure}.py",
            "figures/style.py",
            "reporting/writing.py",
            *CODE,
        ),
    message:
        "Draw {wildcards.figure}."
    script:
        "../scripts/draw_figure.py"
