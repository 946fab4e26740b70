"""Imaging Data Commons: its own downloader against a real S3 server on loopback, and the index that ships with it."""

import random
import socket
import warnings

import pytest

from diffufuse.errors import BadInput
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.plan import plan_lines
from diffufuse.fetch.sources import idc

COLLECTION = "soft_tissue_sarcoma"
BUCKET = "idc-open-data"
TOLD = {"study_seed": 1}
SERIES = {("STS_001", "PT"): [1000, 2000, 3000], ("STS_001", "MR"): [500], ("STS_002", "PT"): [1500, 1500]}


def identifier(number):
    return f"00000000-0000-4000-8000-{number:012d}"


@pytest.fixture(scope="module")
def small_index(tmp_path_factory):
    """The index of three series, written from rows of the one that ships; the real one takes seconds to load."""
    import idc_index_data
    import pandas as pd

    real = pd.read_parquet(idc_index_data.IDC_INDEX_PARQUET_FILEPATH, filters=[("collection_id", "==", COLLECTION)])
    index = real.head(len(SERIES)).copy()
    for number, ((patient, modality), sizes) in enumerate(SERIES.items()):
        row = index.index[number]
        index.loc[row, ["PatientID", "Modality", "SeriesInstanceUID"]] = [patient, modality, f"1.2.3.{number}"]
        index.loc[row, "series_aws_url"] = f"s3://{BUCKET}/{identifier(number)}/*"
        index.loc[row, "instanceCount"] = len(sizes)
        index.loc[row, "series_size_MB"] = sum(sizes) / 1e6
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    index.to_parquet(path)
    prior = pd.read_parquet(idc_index_data.PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH).head(0)
    prior.to_parquet(path.with_name("prior.parquet"))
    return path


@pytest.fixture(scope="module")
def s3():
    """A real S3 server; s5cmd reads without signing, so that the objects have to be public."""
    import boto3
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    yield client, url
    server.stop()


@pytest.fixture
def bucket(s3, small_index, monkeypatch):
    import idc_index.index
    import idc_index_data

    client, url = s3
    for number, sizes in enumerate(SERIES.values()):
        for instance, size in enumerate(sizes):
            put(client, f"{identifier(number)}/{instance}.dcm", random.Random(size).randbytes(size))
    monkeypatch.setattr(idc_index.index, "aws_endpoint_url", url)
    monkeypatch.setattr(idc_index_data, "IDC_INDEX_PARQUET_FILEPATH", small_index)
    monkeypatch.setattr(idc_index_data, "PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH", small_index.with_name("prior.parquet"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return client


def put(client, key, body):
    client.put_object(Bucket=BUCKET, Key=key, Body=body, ACL="public-read")


def source(**more):
    return {"kind": "idc", "collection": COLLECTION} | more


def fetch(tmp_path, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fetch_dataset(source(**more), tmp_path / "sts.manifest.tsv", mirror=None, **TOLD)
    return tmp_path / "sts"


def sizes_of(raw):
    folders = {path.parent for path in raw.rglob("*.dcm")}
    return {
        folder.relative_to(raw).as_posix(): sorted(path.stat().st_size for path in folder.iterdir())
        for folder in sorted(folders)
    }


WANTED = {
    f"{patient}/{modality}_{identifier(number)}": sizes
    for number, ((patient, modality), sizes) in enumerate(SERIES.items())
}


def test_every_series_comes_whole_into_the_folder_of_its_patient(bucket, tmp_path):
    raw = fetch(tmp_path)
    assert sizes_of(raw) == WANTED
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sts.manifest.tsv", "sts", "sts.manifest.tsv"]
    manifest = (tmp_path / "sts.manifest.tsv").read_text()
    assert f"\tidc:{COLLECTION}\n" in manifest
    assert "1.2.3." not in manifest


def test_a_series_that_is_whole_is_not_fetched_again_and_one_that_is_not_is(bucket, tmp_path):
    whole, half = (tmp_path / "sts" / name for name in list(WANTED)[:2])
    whole.mkdir(parents=True), half.mkdir(parents=True)
    for instance, size in enumerate(SERIES["STS_001", "PT"]):
        (whole / f"{instance}.dcm").write_bytes(b"w" * size)
    (half / "0.dcm").write_bytes(b"h" * 499)
    raw = fetch(tmp_path)
    assert sizes_of(raw) == WANTED
    assert (whole / "0.dcm").read_bytes() == b"w" * 1000


def test_series_that_do_not_come_whole_are_told_and_the_next_fetch_goes_on(bucket, tmp_path):
    bucket.delete_object(Bucket=BUCKET, Key=f"{identifier(2)}/1.dcm")
    with pytest.raises(BadInput, match=rf"expected 3 series .* but 1 did not come whole, STS_002/PT_{identifier(2)}"):
        fetch(tmp_path)
    assert sizes_of(tmp_path / "sts") == {name: sizes for name, sizes in WANTED.items() if "STS_001" in name}
    assert not (tmp_path / "sts.manifest.tsv").exists()
    put(bucket, f"{identifier(2)}/1.dcm", b"x" * 1500)
    assert sizes_of(fetch(tmp_path)) == WANTED


def test_what_is_gone_after_the_first_fetch_comes_again_but_must_be_the_same(bucket, tmp_path):
    raw = fetch(tmp_path)
    lost = next(raw.glob("STS_002/*/1.dcm"))
    before = lost.read_bytes()
    lost.unlink()
    fetch(tmp_path)
    assert lost.read_bytes() == before
    lost.unlink()
    put(bucket, f"{identifier(2)}/1.dcm", b"y" * 1500)
    with pytest.raises(BadInput, match="1 changed"):
        fetch(tmp_path)


def test_batches_are_cut_by_size_and_filters_choose_series(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(idc, "BATCH_BYTES", 1)
    raw = fetch(tmp_path, filters={"Modality": ["PT"]})
    assert sizes_of(raw) == {name: sizes for name, sizes in WANTED.items() if "PT_" in name}
    assert "\tidc:soft_tissue_sarcoma?Modality=PT\n" in (tmp_path / "sts.manifest.tsv").read_text()


def test_a_disk_that_is_too_small_is_told_before_anything_comes(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("diffufuse.fetch.disk.free_bytes", lambda folder: 100)
    with pytest.raises(BadInput, match=r"expected 9\.5 kB of free disk for 3 series, got 100 bytes"):
        fetch(tmp_path)


def test_a_collection_that_is_not_in_the_index_is_told():
    with pytest.raises(BadInput, match="expected series of idc:no_such_collection in the index"):
        idc.extent({"kind": "idc", "collection": "no_such_collection"})


def test_the_plan_of_the_sarcoma_collection_needs_no_network(tmp_path, monkeypatch):
    def no_network(*arguments):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    block = {"title": "T", "license": "CC BY 3.0", "citation": "V", "source": source()}
    plan = plan_lines(block, tmp_path / "sts", mirror=None)
    assert "size: 51 cases, 612 series, 9.87 GB" in plan
    assert "license: CC BY 3.0" in plan
    assert "license: CC0 (the source says CC BY 3.0)" in plan_lines(block | {"license": "CC0"}, tmp_path, mirror=None)
