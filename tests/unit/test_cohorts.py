import pytest

from diffufuse.errors import BadInput
from diffufuse.study.cohorts import (
    count_excluded,
    draft_cohort,
    evenly_chosen,
    read_cohort,
    read_patients,
    write_cohort,
)

HEADER = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"


def sheet(tmp_path, text):
    path = tmp_path / "cohort.tsv"
    path.write_text(text)
    return path


def test_every_case_of_a_fold_has_one_role(tmp_path):
    cohort = read_cohort(
        sheet(tmp_path, HEADER + "A\tA\t0\t1\t\t-\nB\tB\t1\t-\t\t-\nC\tC\t-\t0\t\t-\nD\tD\t-\t-\tx\t-\n")
    )
    assert cohort.test(0) == ["A"]
    assert cohort.validation(0) == ["C"]
    assert cohort.training(0) == ["B", "D"]
    assert cohort.training(1) == ["C", "D"]
    assert cohort.folds == [0, 1]


def test_a_patient_in_two_folds_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="patient P1 stands in several"):
        read_cohort(sheet(tmp_path, HEADER + "A\tP1\t0\t-\t\t-\nB\tP1\t1\t-\t\t-\nC\tP2\t1\t-\t\t-\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER, "cohort is empty"),
        ("", "cohort is empty"),
        ("case\tfold\nA\t0\n", "expected the columns case, patient, fold, validates, site, excluded"),
        (HEADER + "A_1\tA\t0\t-\t\t-\n", "letters, digits and hyphens in column case, got 'A_1'"),
        (HEADER + "A\tA\tzero\t-\t\t-\n", "line 2: expected a fold number or `-` in column fold"),
        (HEADER + "A\tA\t0\t-\t\t-\nA\tA\t0\t-\t\t-\n", "A stands twice"),
        (HEADER + "A\tA\t0\t0\t\t-\n", "tested and validated on in fold 0"),
    ],
)
def test_a_faulty_sheet_is_refused_in_one_sentence(tmp_path, text, told):
    with pytest.raises(BadInput, match=told):
        read_cohort(sheet(tmp_path, text))


def test_a_missing_sheet_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"absent\.tsv: expected a cohort sheet"):
        read_cohort(tmp_path / "absent.tsv")


def test_a_drafted_cohort_deals_every_case_once_and_keeps_roles_apart(tmp_path):
    names = [f"C{n:02d}" for n in range(27)]
    drafted = draft_cohort(names, study_seed=3, folds=5, validation_share=0.15)
    write_cohort(drafted, tmp_path / "drafted.tsv")
    cohort = read_cohort(tmp_path / "drafted.tsv")
    assert cohort == drafted
    assert sorted(name for fold in range(5) for name in cohort.test(fold)) == names
    for fold in range(5):
        roles = [set(cohort.test(fold)), set(cohort.validation(fold)), set(cohort.training(fold))]
        assert sum(map(len, roles)) == len(set.union(*roles)) == 27
        assert len(roles[0]) in (5, 6)
        assert len(roles[1]) == 4


def test_a_draft_follows_from_the_seed_and_not_from_the_order():
    names = [f"C{n}" for n in range(10)]
    assert draft_cohort(names, study_seed=1) == draft_cohort(names[::-1], study_seed=1)
    assert draft_cohort(names, study_seed=1) != draft_cohort(names, study_seed=2)


def test_the_cases_of_one_patient_are_drafted_into_one_fold(tmp_path):
    names = [f"C{n}" for n in range(10)]
    alone = draft_cohort(names, study_seed=1)
    assert draft_cohort(names, study_seed=1, patients={name: name for name in names}) == alone
    drafted = draft_cohort([*names, "D1", "D2"], study_seed=1, patients={"D1": "C3", "D2": "C3"})
    write_cohort(drafted, tmp_path / "drafted.tsv")
    assert read_cohort(tmp_path / "drafted.tsv") == drafted
    roles = {case.name: (case.patient, case.fold, case.validates) for case in drafted.cases}
    assert roles["D1"] == roles["D2"] == roles["C3"]
    assert [case for case in drafted.cases if case.name in names] == list(alone.cases)


def test_an_excluded_case_takes_no_part_and_is_counted(tmp_path):
    path = sheet(tmp_path, HEADER + "A\tA\t0\t-\t\t-\nB\tB\t0\t-\t\tT1 ends within the tumor\nC\tC\t1\t-\t\t-\n")
    cohort = read_cohort(path)
    assert cohort.names == ["A", "C"]
    assert cohort.test(0) == ["A"]
    assert cohort.training(1) == ["A"]
    assert [case.excluded for case in cohort.excluded] == ["T1 ends within the tumor"]
    assert count_excluded([path]) == {"cohort": 1}
    assert read_patients([path]) == {"A": "A", "C": "C"}
    write_cohort(cohort, tmp_path / "again.tsv")
    assert (tmp_path / "again.tsv").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER + "A\tA\t0\t-\t\t\n", "line 2: expected `-` or a reason in column excluded"),
        (HEADER + "A\tA\t0\t-\t\tblurred\n", "every case is excluded"),
    ],
)
def test_an_exclusion_has_a_reason_and_leaves_somebody(tmp_path, text, told):
    with pytest.raises(BadInput, match=told):
        read_cohort(sheet(tmp_path, text))


def test_a_choice_of_many_takes_some_from_everywhere():
    names = [f"C-{i:03d}" for i in range(1000)]
    chosen = evenly_chosen(names)
    assert (chosen[0], chosen[-1], len(set(chosen))) == (names[0], names[-1], 12)
    assert evenly_chosen(names[:3]) == names[:3]
