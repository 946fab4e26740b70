"""Fetching as a whole: the first time, again, from a mirror, and after somebody touched the files."""

import csv
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile

import pytest
import yaml
from hosts import Page, host

from diffufuse.errors import BadInput
from diffufuse.fetch import http as fetching_http
from diffufuse.fetch.addresses import require_commit, require_no_secret, require_web
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import reference_of, require_unchanged
from diffufuse.fetch.plan import log_plan, plan_lines
from diffufuse.fetch.sources import SOURCES
from diffufuse.files.digests import sha256_of
from diffufuse.study.cohorts import read_cohort

FILES = {"STS_001/CT_image.nii.gz": b"image", "STS_001/CT_mask.nii.gz": b"mask" * 1000, "STS_002/a.nii.gz": b"a"}
TOLD = {"study_seed": 1}


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(members, mode="w:gz"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def below(prefix, files=FILES):
    return {f"{prefix}/{name}": data for name, data in files.items()}


def written(folder, files=FILES):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def found(raw):
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(fetching_http, "WAIT_S", 0.0)


@pytest.fixture
def server():
    with host() as running:
        running.pages["/a.zip"] = Page(zipped(below("repo-master/validation/nifti") | {"repo-master/other": b"x"}))
        yield running


def source(server, **more):
    return {"kind": "archive", "url": f"{server.url}/a.zip", "folder": "validation/nifti"} | more


def fetch(block, tmp_path, mirror=None):
    fetch_dataset(block, tmp_path / "sts.manifest.tsv", mirror=mirror and str(mirror), **TOLD)
    return tmp_path / "sts"


def test_a_folder_of_an_archive_becomes_the_raw_folder_and_nothing_else_is_left(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    assert found(raw) == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sts.manifest.tsv", "sts", "sts.manifest.tsv"]


def test_the_manifest_says_what_each_file_is_and_where_it_came_from(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    *lines, own = (tmp_path / "sts.manifest.tsv").read_text().splitlines(keepends=True)
    assert own == f"#sha256\t{hashlib.sha256(''.join(lines).encode()).hexdigest()}\n"
    rows = list(csv.DictReader(lines, delimiter="\t"))
    assert [row["path"] for row in rows] == sorted(FILES)
    assert all(row["sha256"] == sha256_of(raw / row["path"]) for row in rows)
    assert all(int(row["bytes"]) == (raw / row["path"]).stat().st_size for row in rows)
    assert {row["source"] for row in rows} == {f"{server.url}/a.zip"}
    assert list(rows[0]) == ["path", "bytes", "sha256", "source"]  # a word in a citation moves no result


def test_a_first_fetch_that_an_earlier_release_wrote_down_is_not_lost(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    now = reference_of(raw).read_text()
    head, *rows, _ = now.splitlines()
    cited = 'CC BY 3.0\t"Valli\u00e8res M, ""A model"", 2015"'
    before = "\n".join([f"{head}\tlicense\tcitation", *(f"{row}\t{cited}" for row in rows)]) + "\n"
    reference_of(raw).write_text(before), (tmp_path / "sts.manifest.tsv").write_text(before)
    require_unchanged(tmp_path / "sts.manifest.tsv", [raw / name for name in FILES])
    asked = len(server.asked)
    fetch(source(server), tmp_path)
    assert len(server.asked) == asked
    assert reference_of(raw).read_text() == (tmp_path / "sts.manifest.tsv").read_text() == now


def test_a_later_fetch_touches_no_network_and_writes_the_same_manifest(server, tmp_path):
    fetch(source(server), tmp_path)
    manifest = tmp_path / "sts.manifest.tsv"
    before, asked = manifest.read_text(), len(server.asked)
    manifest.unlink()  # as Snakemake does before it runs the rule again
    fetch(source(server), tmp_path)
    assert manifest.read_text() == before
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("touch", "told"),
    [
        (lambda raw: (raw / "STS_001/CT_image.nii.gz").write_bytes(b"imagf"), r"1 changed \(STS_001/CT_image.nii.gz\)"),
        (lambda raw: (raw / "STS_001/new.nii.gz").write_bytes(b"x"), r"got 1 extra \(STS_001/new"),
        (
            lambda raw: [(raw / "STS_002/a.nii.gz").unlink(), (raw / "b").write_bytes(b"")],
            r"1 missing \(STS_002/a.nii.gz\) and 1 extra \(b\)",
        ),
    ],
    ids=["changed", "extra", "missing and extra"],
)
def test_what_was_changed_or_added_after_the_first_fetch_is_refused_and_listed(server, tmp_path, touch, told):
    raw = fetch(source(server), tmp_path)
    touch(raw)
    before = found(raw)
    (tmp_path / "sts.manifest.tsv").unlink()
    with pytest.raises(BadInput, match=told):
        fetch(source(server), tmp_path)
    assert found(raw) == before
    assert not (tmp_path / "sts.manifest.tsv").exists()


def test_what_is_gone_is_fetched_again_and_must_come_back_equal(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    shutil.rmtree(raw / "STS_002")
    fetch(source(server), tmp_path)
    assert found(raw) == FILES
    (raw / "STS_002/a.nii.gz").unlink()
    server.pages["/a.zip"] = Page(zipped(below("r/validation/nifti", FILES | {"STS_002/a.nii.gz": b"A"})))
    with pytest.raises(BadInput, match=r"1 changed \(STS_002/a.nii.gz\)"):
        fetch(source(server), tmp_path)


def test_another_source_is_not_mixed_into_the_files_of_the_first(server, tmp_path):
    fetch(source(server), tmp_path)
    with pytest.raises(BadInput, match=r"expected the data of http.*/b.zip, but it holds that of http.*/a.zip"):
        fetch(source(server, url=f"{server.url}/b.zip"), tmp_path)


def test_a_fetch_that_was_killed_before_its_manifest_does_not_download_again(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    reference_of(raw).unlink()
    (tmp_path / ".sts.download").mkdir()
    (tmp_path / ".sts.download/a.zip").write_bytes(server.pages["/a.zip"].body)
    asked = len(server.asked)
    fetch(source(server), tmp_path)
    assert found(raw) == FILES
    assert len(server.asked) == asked


def test_a_mirror_folder_takes_the_place_of_the_download_and_gives_the_same_manifest(server, tmp_path):
    written(tmp_path / "mirror/nifti")
    (tmp_path / "downloaded").mkdir(), (tmp_path / "copied").mkdir()
    fetch(source(server), tmp_path / "downloaded")
    raw = fetch(source(server, mirror="nifti"), tmp_path / "copied", mirror=tmp_path / "mirror")
    assert found(raw) == FILES
    manifests = [(tmp_path / name / "sts.manifest.tsv").read_text() for name in ("downloaded", "copied")]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("name", ["copy.zip", "copy.tar", "copy.tar.gz", "copy.tgz"])
def test_a_mirror_may_be_an_archive(tmp_path, name):
    (tmp_path / "mirror").mkdir()
    mode = "w" if name.endswith("tar") else "w:gz"
    (tmp_path / "mirror" / name).write_bytes(zipped(FILES) if name.endswith("zip") else tarred(FILES, mode))
    raw = fetch({"kind": "copy", "mirror": ["absent", name]}, tmp_path, mirror=tmp_path / "mirror")
    assert found(raw) == FILES


def test_only_what_is_wanted_is_taken_of_a_copy_and_nothing_hidden(tmp_path):
    written(tmp_path / "mirror/sts", FILES | {"LICENSE": b"text", "STS_001/._CT_image.nii.gz": b"junk"})
    (tmp_path / "mirror/sts.zip").write_bytes(zipped(FILES | {"LICENSE": b"text", "__MACOSX/STS_001/a": b"junk"}))
    for name in ("sts", "sts.zip"):
        (tmp_path / f"from {name}").mkdir()
        block = {"kind": "copy", "mirror": name, "only": "STS_*"}
        assert found(fetch(block, tmp_path / f"from {name}", mirror=tmp_path / "mirror")) == FILES


def test_a_damaged_copy_of_equal_size_is_copied_anew(tmp_path):
    written(tmp_path / "mirror/sts", {"a.nii.gz": b"whole"})
    written(tmp_path / "sts", {"a.nii.gz": b"broke"})
    raw = fetch({"kind": "copy", "mirror": "sts"}, tmp_path, mirror=tmp_path / "mirror")
    assert found(raw) == {"a.nii.gz": b"whole"}


def test_a_mirror_without_the_dataset_is_refused_with_the_names_it_was_looked_for(tmp_path):
    with pytest.raises(BadInput, match=r"as sts or sts\.zip, but there is no such folder or archive"):
        fetch({"kind": "copy", "mirror": ["sts", "sts.zip"]}, tmp_path, mirror=tmp_path / "mirror")


def test_data_that_no_program_may_download_is_asked_for(tmp_path):
    with pytest.raises(BadInput, match=r"put it into a FOLDER as lits or lits.zip .* --config mirror=FOLDER"):
        fetch({"kind": "copy", "mirror": ["lits", "lits.zip"]}, tmp_path)


def test_an_empty_copy_is_no_dataset(tmp_path):
    (tmp_path / "mirror/sts").mkdir(parents=True)
    with pytest.raises(BadInput, match="mirror/sts: expected files in the folder, but it holds none"):
        fetch({"kind": "copy", "mirror": "sts"}, tmp_path, mirror=tmp_path / "mirror")
    assert not (tmp_path / "sts.manifest.tsv").exists()


def test_a_file_that_is_read_must_be_as_it_was_fetched(server, tmp_path):
    raw = fetch(source(server), tmp_path)
    files = [raw / name for name in FILES]
    require_unchanged(tmp_path / "sts.manifest.tsv", files)
    files[0].write_bytes(b"imagf")
    with pytest.raises(BadInput, match=r"got 1 changed \(STS_001/CT_image.nii.gz\);"):
        require_unchanged(tmp_path / "sts.manifest.tsv", files)
    (raw / "other").write_bytes(b"")
    with pytest.raises(BadInput, match=r"got 1 extra \(other\);"):
        require_unchanged(tmp_path / "sts.manifest.tsv", [raw / "other"])


def block_of(source, **more):
    return {"title": "T", "license": "CC BY 3.0", "citation": "V 2015", "source": source} | more


def test_the_plan_tells_size_license_citation_terms_and_state(server, tmp_path):
    length = len(server.pages["/a.zip"].body)
    block = block_of(source(server, cases=27), terms="https://terms")
    plan = "\n".join(plan_lines(block, tmp_path / "sts", mirror=None))
    assert f"27 cases, series unknown, {length} bytes" in plan or "27 cases, series unknown, " in plan
    assert all(
        text in plan for text in ("CC BY 3.0", "V 2015", "https://terms", f"from: {server.url}/a.zip", "here: no")
    )
    raw = fetch(source(server), tmp_path)
    assert "here: fetched, 3 files, 4.01 kB" in plan_lines(block, raw, mirror=None)
    (raw / "STS_002/a.nii.gz").unlink()
    assert "here: fetched, 3 files, 4.01 kB, 1 of them gone" in plan_lines(block, raw, mirror=None)


def test_the_plan_writes_nothing_and_survives_a_host_that_does_not_answer(tmp_path):
    block = block_of({"kind": "archive", "url": "http://127.0.0.1:9/a.zip"})
    log_plan({"sts": block}, tmp_path / "raw", mirror=None)
    assert "cases unknown, series unknown, bytes unknown" in plan_lines(block, tmp_path / "raw/sts", mirror=None)[2]
    assert not list(tmp_path.iterdir())


def test_the_plan_of_a_mirror_tells_which_copy_would_be_taken(tmp_path):
    written(tmp_path / "mirror/lits")
    block = block_of({"kind": "copy", "mirror": ["LITS17", "lits"]})
    assert "from: the copy lits of the mirror" in plan_lines(block, tmp_path / "x", mirror=str(tmp_path / "mirror"))
    assert "nowhere: " in plan_lines(block, tmp_path / "x", mirror=str(tmp_path))[1]


def test_every_source_tells_its_extent_its_address_and_how_it_fetches():
    assert all(callable(getattr(kind, name)) for kind in SOURCES.values() for name in ("fetch", "extent", "address"))


SECRET = "s3cr3t-planted-token"


@pytest.mark.parametrize(
    "url", ["http://user:{}@{}/a.zip", "http://{1}/a.zip?token={0}", "http://{1}/x.zip?X-Amz-Signature={0}"]
)
def test_a_secret_in_an_address_is_refused_and_repeated_nowhere(server, tmp_path, url, caplog, capfd):
    address = url.format(SECRET, server.url.removeprefix("http://"))
    (tmp_path / "data").mkdir()
    with pytest.raises(BadInput, match="without a password or token") as refusal:
        fetch({"kind": "archive", "url": address}, tmp_path / "data")
    plan = "\n".join(plan_lines(block_of({"kind": "archive", "url": address}), tmp_path / "data/sts", mirror=None))
    told = [str(refusal.value), caplog.text, *capfd.readouterr(), plan]
    assert not any(SECRET in text for text in told)
    assert not any(SECRET.encode() in data for data in found(tmp_path).values())


def test_a_secret_to_which_a_host_redirects_is_written_nowhere(server, tmp_path, caplog, capfd):
    caplog.set_level("INFO")
    server.pages["/go.zip"] = Page(status=302, location=f"{server.url}/a.zip?token={SECRET}")
    server.pages["/gone.zip"] = Page(status=302, location=f"{server.url}/missing.zip?token={SECRET}")
    fetch(source(server, url=f"{server.url}/go.zip"), tmp_path)
    os.mkdir(tmp_path / "b")
    with pytest.raises(BadInput, match="HTTP 404") as refusal:
        fetch(source(server, url=f"{server.url}/gone.zip"), tmp_path / "b")
    assert any(SECRET in path for path, _ in server.asked)
    assert not any(SECRET in text for text in (str(refusal.value), caplog.text, *capfd.readouterr()))
    assert not any(SECRET.encode() in data for data in found(tmp_path).values())


COMPRESSED = {"STS_001/a.nii.gz": gzip.compress(b"image" * 1000, 1), "STS_002/b.nii": b"plain"}
PINNED = {"STS_001/a.nii.gz": b"image" * 1000, "STS_002/b.nii": b"plain"}


def pin_of(contents):
    """By hand: path, length and SHA-256 of what each file holds once it is decompressed."""
    lines = [f"{name}\t{len(data)}\t{hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(contents.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pinned(server, **more):
    server.pages["/a.zip"] = Page(zipped(below("repo/validation/nifti", COMPRESSED)))
    return source(server, content_sha256=pin_of(PINNED)) | more


def test_pinned_content_may_come_in_another_compression_from_the_host_or_a_mirror(server, tmp_path):
    written(tmp_path / "mirror/nifti", COMPRESSED | {"STS_001/a.nii.gz": gzip.compress(b"image" * 1000, 9)})
    for name, mirror in (("from the host", None), ("from a mirror", tmp_path / "mirror")):
        (tmp_path / name).mkdir()
        raw = fetch(pinned(server, mirror="nifti"), tmp_path / name, mirror=mirror)
        assert set(found(raw)) == set(COMPRESSED)


OTHER_CONTENT = {
    "changed": COMPRESSED | {"STS_001/a.nii.gz": gzip.compress(b"imagf" * 1000)},
    "missing": {"STS_002/b.nii": b"plain"},
    "extra": COMPRESSED | {"STS_003/c.nii": b"c"},
    "renamed": {name.replace("STS_002", "STS_003"): data for name, data in COMPRESSED.items()},
}


@pytest.mark.parametrize("difference", OTHER_CONTENT)
@pytest.mark.parametrize("way", ["host", "mirror"])
def test_content_that_is_not_the_pinned_one_is_refused_and_fetched_anew_the_next_time(
    server, tmp_path, difference, way
):
    block = pinned(server, mirror="nifti")
    right = server.pages["/a.zip"]
    server.pages["/a.zip"] = Page(zipped(below("repo/validation/nifti", OTHER_CONTENT[difference])))
    written(tmp_path / "mirror/nifti", OTHER_CONTENT[difference])
    (tmp_path / "data").mkdir()
    mirror = tmp_path / "mirror" if way == "mirror" else None
    with pytest.raises(BadInput, match=rf"sts: expected the content {pin_of(PINNED)} .* got [0-9a-f]{{64}};"):
        fetch(block, tmp_path / "data", mirror=mirror)
    assert not found(tmp_path / "data")
    server.pages["/a.zip"] = right
    shutil.rmtree(tmp_path / "mirror/nifti"), written(tmp_path / "mirror/nifti", COMPRESSED)
    assert found(fetch(block, tmp_path / "data", mirror=mirror)) == COMPRESSED


def test_files_that_were_there_before_a_refused_copy_stay(server, tmp_path):
    written(tmp_path / "mirror/nifti", OTHER_CONTENT["changed"])
    written(tmp_path / "sts", {"mine": b"precious"})
    with pytest.raises(BadInput, match="expected the content"):
        fetch(pinned(server, mirror="nifti"), tmp_path, mirror=tmp_path / "mirror")
    assert found(tmp_path / "sts")["mine"] == b"precious"


def test_a_damaged_file_of_pinned_content_is_told_by_name(server, tmp_path):
    cut = COMPRESSED | {"STS_001/a.nii.gz": COMPRESSED["STS_001/a.nii.gz"][:-9]}
    written(tmp_path / "mirror/nifti", cut)
    with pytest.raises(BadInput, match=r"STS_001/a\.nii\.gz: expected a whole gzip file"):
        fetch(pinned(server, mirror="nifti"), tmp_path, mirror=tmp_path / "mirror")


def test_what_was_fetched_from_elsewhere_is_kept_if_it_is_the_pinned_content(server, tmp_path):
    old = pinned(server)
    server.pages["/old.zip"] = server.pages["/a.zip"]
    fetch(
        {name: text for name, text in old.items() if name != "content_sha256"} | {"url": f"{server.url}/old.zip"},
        tmp_path,
    )
    asked = len(server.asked)
    raw = fetch(old, tmp_path)
    assert len(server.asked) == asked
    assert f"{server.url}/a.zip" in reference_of(raw).read_text()
    assert "old.zip" not in reference_of(raw).read_text() + (tmp_path / "sts.manifest.tsv").read_text()
    with pytest.raises(BadInput, match="but it holds that of"):
        fetch(old | {"url": f"{server.url}/other.zip", "content_sha256": "0" * 64}, tmp_path)


def test_several_names_may_be_wanted_and_what_else_there_is_does_not_count(server, tmp_path):
    block = pinned(server, only=["STS_001", "STS_002"])
    server.pages["/a.zip"] = Page(zipped(below("repo/validation/nifti", OTHER_CONTENT["extra"])))
    assert found(fetch(block, tmp_path)) == COMPRESSED


def shipped(root):
    return yaml.safe_load((root / "config/datasets.yaml").read_text())["datasets"]


def test_every_archive_that_is_shipped_is_held_to_a_digest_and_none_is_of_a_branch(root):
    archives = {name: block["source"] for name, block in shipped(root).items() if block["source"]["kind"] == "archive"}
    assert "sts_ibsi" in archives
    for name, one in archives.items():
        assert {"sha256", "md5", "content_sha256"} & set(one), name
        require_web(one["url"]), require_no_secret(one["url"]), require_commit(one["url"])


@pytest.mark.real
def test_the_sarcomas_of_the_mirror_are_the_pinned_ones(root, shared_data, tmp_path):
    block = shipped(root)["sts_ibsi"]["source"]
    cohort = read_cohort(root / "config/cohorts/sts_ibsi.tsv")
    raw = fetch(block, tmp_path, mirror=shared_data)
    assert {path.name.replace("_", "-") for path in raw.iterdir()} == {
        case.name for case in (*cohort.cases, *cohort.excluded)
    }
