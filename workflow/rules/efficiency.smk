# What a trained model costs where it is used. A job runs alone, for profiles/default gives it all cores, so that its
# timings mean something; it measures with one thread.


rule measure_efficiency:
    input:
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        weights="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights.safetensors",
    output:
        efficiency="results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/efficiency.parquet",
        latencies="results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/latencies.parquet",
    log:
        "results/logs/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        source=source_hash(
            "efficiency.py",
            "models/{architecture}",
            "models/pyramid.py",
            "plans.py",
            "outputs.py",
            "constants.py",
            "prepared.py",
            "scan.py",
            "slices.py",
            "packing.py",
            "cases.py",
            "seeds.py",
            "tables.py",
            "volumes.py",
        ),
    message:
        "Measure what {wildcards.model}, trained on {wildcards.dataset}, costs where it is used."
    script:
        "../scripts/measure_efficiency.py"
