"""A list stands for the records of its cases: it changes with each of them, with no other, and is never out of date."""

from collections import Counter

import pytest
from study_jobs import ROOT, job, study_of

from diffufuse.errors import BadInput
from diffufuse.files.records import write_record
from diffufuse.store.case_lists import CASE_LISTS, read_case_list, write_case_list
from diffufuse.store.fused import records_in
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.study.prepared import PARTS, names_in

FOLDS = 5
MODELS = [
    f"{name}_tiny" for name in ("unet2d", "unet3d", "attention_unet", "multi_encoder", "transbts", "diffufusemed")
]


@pytest.fixture
def prepared(tmp_path):
    """Records of three prepared cases, each in its folder."""
    records = [tmp_path / name / f"{name}.json" for name in ("C", "A", "B")]
    for number, record in enumerate(records):
        write_record({"case": record.stem, "slices_sha256": f"{number:064}"}, record)
    return records


def test_a_list_gives_its_records_in_its_order_wherever_the_folder_is_moved(prepared, tmp_path):
    write_case_list(prepared, tmp_path / CASE_LISTS / "training-0.json")
    assert records_in([tmp_path / CASE_LISTS / "training-0.json"]) == prepared
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    found = read_case_list(moved / CASE_LISTS / "training-0.json")
    assert [record.relative_to(moved) for record in found] == [record.relative_to(tmp_path) for record in prepared]


def test_a_list_changes_with_each_of_its_records_and_is_the_same_for_the_same_records(prepared, tmp_path):
    contents = []
    for value in ("0", "1", "0"):
        write_record({"case": "A", "slices_sha256": value * 64}, prepared[1])
        write_case_list(prepared, tmp_path / CASE_LISTS / "all.json")
        contents.append((tmp_path / CASE_LISTS / "all.json").read_bytes())
    assert contents[0] == contents[2] != contents[1]


def test_a_record_that_was_changed_or_lost_after_it_was_listed_is_refused(prepared, tmp_path):
    path = tmp_path / CASE_LISTS / "all.json"
    write_case_list(prepared, path)
    write_record({"case": "A", "slices_sha256": "changed"}, prepared[1])
    with pytest.raises(BadInput, match=r"all\.json: expected a list of prepared cases .*A\.json is another one by now"):
        read_case_list(path)
    prepared[1].unlink()
    with pytest.raises(BadInput, match=r"A\.json: expected a file that can be read"):
        read_case_list(path)


def test_a_record_of_another_kind_is_no_list(tmp_path):
    write_record({"records": 3}, tmp_path / CASE_LISTS / "all.json")
    with pytest.raises(BadInput, match=r"all\.json: expected a list of prepared cases .* another record"):
        read_case_list(tmp_path / CASE_LISTS / "all.json")


def study_of_many(cases):
    """The default study with six models, on so many phantoms in five folds."""
    asked = {"conditions": ["clean", "no-pet"], "overlay_conditions": ["clean"], "models": MODELS, "only": {}}
    study = study_of(**asked)
    study.config["study"]["folds"] = list(range(FOLDS))
    study.cohorts["phantom"] = cohort_of(cases)
    return study


def cohort_of(cases):
    numbers = range(cases)
    return Cohort(
        tuple(
            Case(f"P-{n}", f"P-{n}", n % FOLDS, (n + 1) % FOLDS if n // FOLDS % FOLDS == 0 else None, "")
            for n in numbers
        )
    )


def inputs_of(study):
    """Every file that the jobs of the study read of prepared cases, by the rule's own input functions."""
    prepared, files = study.prepared, []
    runs = [
        {"dataset": "phantom", "model": model, "fold": str(fold), "seed": "0"}
        for model in study.models
        for fold in study.folds
    ]
    for run in runs:
        files += prepared.learned_from(job(**run)) + prepared.in_part(job(**run))
        for part, condition in (("test", "clean"), ("test", "no-pet"), ("validation", "clean")):
            test = job(**run, part=part, condition=condition, trained_on="phantom")
            files += prepared.read_in_part(test) + prepared.in_part(test)
    for model in study.models:
        files += prepared.pictured(job(picture="extremes", dataset="phantom", subject=model))
    for fold in study.folds:
        files += prepared.trained_on(job(dataset="phantom", fold=str(fold)))
    lists = {path for path in files if f"/{CASE_LISTS}/" in path}
    for path in lists:
        files += prepared.listed(job(dataset="phantom", listed=path.rpartition("/")[2].removesuffix(".json")))
    return files + prepared.all(job(dataset="phantom"))


def test_the_files_that_jobs_read_do_not_grow_with_cases_times_models(monkeypatch):
    monkeypatch.chdir(ROOT)
    few, many = (len(inputs_of(study_of_many(cases))) for cases in (100, 400))
    assert (many - few) / 300 <= FOLDS + 1, "one for each case in a part of each fold, and one in the index"


def test_the_stage_makes_every_list_that_the_study_reads(monkeypatch):
    """The stages of DVC own their folders: a later stage may not write into results/prepare."""
    monkeypatch.chdir(ROOT)
    study = study_of_many(40)
    assert {path for path in inputs_of(study) if f"/{CASE_LISTS}/" in path} <= set(study.prepared.files)
    assert max(Counter(study.prepared.files).values()) == 1


def test_a_list_of_a_part_holds_the_cases_of_that_part_alone(monkeypatch):
    monkeypatch.chdir(ROOT)
    study = study_of_many(40)
    for part in PARTS:
        for fold in study.folds:
            names = names_in(study.cohorts["phantom"], part, fold)
            listed = study.prepared.listed(job(dataset="phantom", listed=f"{part}-{fold}"))
            assert listed == [f"results/prepare/phantom/{name}/{name}.json" for name in names]
    assert len(study.prepared.listed(job(dataset="phantom", listed="all"))) == 40


def test_a_list_without_cases_is_neither_asked_for_nor_made(monkeypatch):
    monkeypatch.chdir(ROOT)
    study = study_of_many(40)
    study.cohorts["phantom"] = Cohort(tuple(Case(f"P-{n}", f"P-{n}", n % FOLDS, None, "") for n in range(40)))
    run = {"dataset": "phantom", "model": study.models[0], "fold": "0", "seed": "0"}
    assert study.prepared.in_part(job(**run)) == []
    assert study.prepared.learned_from(job(**run)) == ["results/prepare/phantom/case_lists/training-0.json"]
    with pytest.raises(BadInput, match="phantom: expected a part of a fold with cases, got validation-0"):
        study.prepared.listed(job(dataset="phantom", listed="validation-0"))
