import unicodedata

import pytest
from fuzz import damages
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.errors import BadInput
from diffufuse.study.cohorts import (
    Case,
    Cohort,
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
        ("", "the file is empty"),
        ("case\tfold\nA\t0\n", "expected the columns case, patient, fold, validates, site, excluded"),
        (HEADER + "A_1\tA\t0\t-\t\t-\n", r"letters, digits and hyphens in column case, got U\+005F \(low line\)"),
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
    checksum, _, rows = (tmp_path / "again.tsv").read_text().partition("\n")
    assert checksum.startswith("# 3 rows, sha256 ")
    assert rows == path.read_text()


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


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,11}", fullmatch=True)
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


@st.composite
def cohorts(draw):
    """Any cohort: patients with several examinations, sites and reasons in any script."""
    folds, cases, excluded = draw(st.integers(1, 4)), [], []
    patients = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=str.casefold))
    for number, patient in enumerate(patients):
        fold = number if number < folds else draw(st.one_of(st.none(), st.integers(0, folds - 1)))
        validated = [other for other in range(min(folds, len(patients))) if other != fold]
        validates = draw(st.sampled_from([None, *validated]))
        for examination in range(draw(st.integers(1, 3))):
            text = draw(st.tuples(st.text(LETTERS, max_size=12), st.text(LETTERS, max_size=12)))
            site, reason = (" ".join(unicodedata.normalize("NFKC", part).split()).lstrip('"#') for part in text)
            site = "" if site and not site.strip("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212") else site
            out = examination and draw(st.booleans())
            case = Case(
                f"{number}x{examination}", patient, fold, validates, site, f"moved {reason}".strip() if out else None
            )
            (excluded if out else cases).append(case)
    return Cohort(tuple(cases), tuple(excluded))


@settings(max_examples=60, deadline=None)
@given(cohort=cohorts())
def test_what_is_written_is_read_back_and_what_is_read_is_written_back(tmp_path_factory, cohort):
    path = tmp_path_factory.mktemp("sheet") / "cohort.tsv"
    write_cohort(cohort, path)
    read, content = read_cohort(path), path.read_bytes()
    assert set(read.cases) == set(cohort.cases)
    assert set(read.excluded) == set(cohort.excluded)
    write_cohort(read, path)
    assert path.read_bytes() == content


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.lists(
            st.sampled_from(["A", "a ", "B-1", "0", "1", "-", "\u2013", "", '"x"', "moved", "²", "ü"]),
            min_size=5,
            max_size=7,
        ),
        max_size=4,
    )
)
def test_every_sheet_that_is_accepted_is_read_again_as_it_was_written(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("sheet")
    path = folder / "cohort.tsv"
    path.write_text(HEADER + "X\tX\t0\t-\t\t-\n" + "".join("\t".join(cells) + "\n" for cells in lines))
    try:
        cohort = read_cohort(path)
    except BadInput:
        return
    write_cohort(cohort, folder / "again.tsv")
    again = read_cohort(folder / "again.tsv")
    assert set(again.cases + again.excluded) == set(cohort.cases + cohort.excluded)
    assert (
        len(cohort.cases) + len(cohort.excluded)
        == len([cells for cells in lines if any(cell.strip() for cell in cells)]) + 1
    )


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ([Case("-A", "A", 0, None, "")], "case 1: .* a hyphen at its start"),
        ([Case("A", "A", 0, None, ""), Case("a", "B", 0, None, "")], "one spelling of each case, got A and a"),
        ([Case("A", "A", 0, None, "x\ty")], r"line 3: expected 6 cells|line 3: expected text|got 7"),
        ([Case("A", "A", 0, None, '"x"')], "line 3: expected plain text in column site, got a quote"),
        ([Case("A", "A", 0, None, " x")], "expected cells without spaces around them"),
        ([], "the cohort is empty"),
    ],
)
def test_a_cohort_that_would_not_be_read_back_is_not_written(tmp_path, cases, told):
    with pytest.raises(BadInput, match=told):
        write_cohort(Cohort(tuple(cases)), tmp_path / "cohort.tsv")
    assert not list(tmp_path.iterdir())


def test_a_damaged_sheet_without_a_checksum_is_refused_or_read_and_never_a_traceback(tmp_path):
    path = sheet(tmp_path, HEADER + "".join(f"P-{n}\tP-{n}\t{n % 3}\t{(n + 1) % 3}\tBonn\t-\n" for n in range(9)))
    refused = 0
    for _, content in damages(path.read_bytes(), tries=500, seed=3):
        path.write_bytes(content)
        try:
            cohort = read_cohort(path)
        except BadInput:
            refused += 1
        else:
            assert len(cohort.cases) + len(cohort.excluded) >= content.count(b"\n") - 1
    assert refused > 400


def test_the_line_that_a_refusal_offers_is_that_of_the_edited_sheet_and_may_be_removed(tmp_path):
    path = tmp_path / "cohort.tsv"
    write_cohort(Cohort(tuple(Case(name, name, 0, None, "") for name in "ABC")), path)
    _, _, rows = path.read_text().partition("\n")
    edited = rows.replace("B\tB\t0\t-\t\t-", "B\tB\t0\t-\t\tmoved during T1")
    path.write_text(f"# 3 rows, sha256 {'0' * 16}\n{edited}")
    with pytest.raises(BadInput, match=r"write `# 3 rows, sha256 [0-9a-f]{16}` there, or remove the line") as refusal:
        read_cohort(path)
    path.write_text(f"{str(refusal.value).split('`')[1]}\n{edited}")
    assert read_cohort(path).names == ["A", "C"]
    path.write_text(edited)
    assert read_cohort(path).names == ["A", "C"]


@pytest.mark.parametrize("count", range(1, 13))
def test_a_draft_of_few_patients_validates_in_folds_that_test_somebody(tmp_path, count):
    drafted = draft_cohort([f"P-{number}" for number in range(count)], study_seed=1)
    write_cohort(drafted, tmp_path / "x.tsv")
    assert read_cohort(tmp_path / "x.tsv") == drafted


def test_the_only_case_tested_in_a_fold_can_be_excluded_while_another_validates_in_it(tmp_path):
    rows = "A\tA\t0\t-\t\t-\nB\tB\t1\t2\t\t-\nC\tC\t2\t-\t\tingest: a slice is missing\n"
    (tmp_path / "x.tsv").write_text("case\tpatient\tfold\tvalidates\tsite\texcluded\n" + rows)
    cohort = read_cohort(tmp_path / "x.tsv")
    assert (cohort.folds, cohort.names, len(cohort.excluded)) == ([0, 1], ["A", "B"], 1)
