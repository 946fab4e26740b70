"""What a trained model costs where it is used."""

import math
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from diffufuse.evaluate import efficiency
from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.efficiency import (
    BATCHES,
    PRECISIONS,
    fits,
    macs_of,
    measure,
    median_and_p95,
    one_thread,
    peak_memory_mb,
    sample_of,
    sizes_of,
    timed_ms,
)
from diffufuse.files.tables import read_table, write_table
from diffufuse.plan.plans import network_of, write_weights
from diffufuse.train.budget import estimate

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
TINY = [
    name
    for name, block in BLOCKS.items()
    if name.endswith("_tiny") and block.get("training", {"regimen": "fixed"})["regimen"] != "fixed"
]


def plan_of(model):
    names = BLOCKS[model].get("input", {}).get("modalities", ("pet", "ct", "t1"))
    regions = [{"name": "mass", "labels": [1]}] if BLOCKS[model]["task"] == "segment" else []
    return {
        "dataset": "phantom",
        "model": model,
        "fold": 0,
        "seed": 0,
        "study_seed": 1,
        "block": BLOCKS[model],
        "modalities": [{"name": name} for name in names],
        "regions": regions,
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    plan, weights = plan_of("multi_encoder_tiny"), tmp_path_factory.mktemp("weights")
    network = network_of(plan)
    write_weights(network, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficiency, "REPEATS", 3)
        return network, *measure(plan, weights)


def test_one_row_for_each_device_and_precision_in_the_schemas(measured, tmp_path):
    _, costs, latencies = measured
    for frame, schema in ((costs, EFFICIENCY), (latencies, LATENCIES)):
        write_table(frame, tmp_path / "table.parquet", schema)
        assert len(read_table(tmp_path / "table.parquet", schema)) == len(frame)
    devices = 1 + torch.cuda.is_available()
    assert len(costs) == devices * len(PRECISIONS)
    assert len(latencies) == devices * len(PRECISIONS) * len(BATCHES) * 3
    assert not costs.duplicated(["device", "precision"]).any()
    assert not latencies.duplicated(["device", "precision", "batch", "repeat"]).any()


def test_size_is_that_of_the_network_and_its_file(measured):
    network, costs, _ = measured
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert set(costs["parameters"]) == {parameters}
    assert set(costs["voxels"]) == {64 * 64}
    file_mb = costs["file_mb"].unique().item()
    assert 4 * parameters / 1e6 < file_mb < 4 * parameters / 1e6 + 0.1


def test_time_and_memory_are_positive_and_finite(measured):
    _, costs, latencies = measured
    own_mb = 4 * costs["parameters"] / 1e6
    assert (costs["peak_memory_mb"] > own_mb).all()
    assert (costs["peak_memory_mb"] < own_mb + 100).all()
    assert (latencies["milliseconds"] > 0).all()
    assert (latencies["threads"] == 1).all()


@pytest.mark.parametrize("model", TINY)
def test_multiply_accumulates_are_those_that_a_training_estimates(model):
    network, images = network_of(plan_of(model)).eval(), sample_of(plan_of(model))
    presence, reference = torch.ones_like(images, dtype=torch.bool), images[:, :1, ..., :1]
    batch = SimpleNamespace(images=images, presence=presence, reference=reference)
    estimated = estimate(
        network,
        batch,
        lambda network, batch, **_: {"loss": network(batch.images, batch.presence).mean()},
        settings={"steps": 1, "accumulate": 1},
    )
    used = macs_of(network, images)
    # BSAFusion tells modalities apart in training alone.
    assert used < estimated.macs_per_sample if "bsafusion" in model else used == estimated.macs_per_sample
    assert macs_of(network, torch.cat([images] * 3)) == 3 * used


def test_a_convolution_has_its_textbook_multiply_accumulates():
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, images, presence):
            return self.convolution(images[..., 0] * presence[..., 0])

    assert macs_of(Mean(), torch.zeros(1, 3, 20, 10, 1)) == 20 * 10 * 5 * 3 * 9


def test_memory_grows_with_the_images():
    network = network_of(plan_of("multi_encoder_tiny")).eval()
    small, large = (
        peak_memory_mb(network, torch.zeros(1, 3, size, size, 1), precision="32-true") for size in (64, 512)
    )
    image_mb = 4 * 8 * 512 * 512 / 1e6  # eight features at full resolution
    assert small + image_mb < large < small + 20 * image_mb


def test_memory_is_unknown_where_the_system_does_not_tell(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert math.isnan(efficiency._growth_of_process_mb(lambda: None))


def test_the_pass_that_is_measured_is_the_second(monkeypatch):
    calls = []
    monkeypatch.setattr(efficiency, "_process_mb", lambda what: float(len(calls)))
    assert efficiency._growth_of_process_mb(partial(calls.append, 0)) == 1.0


def test_median_and_95th_percentile_of_known_values():
    assert median_and_p95(list(range(101))) == (50.0, 95.0)
    assert median_and_p95([1.0, 2.0, 3.0, 104.0]) == pytest.approx((2.5, 3 + 0.85 * 101))
    assert all(map(math.isnan, median_and_p95([])))


def test_a_quick_call_is_timed_thirty_times_after_at_most_five_that_do_not_count():
    calls = []
    assert len(timed_ms(partial(calls.append, 0))) == 30
    assert 32 <= len(calls) <= 35


def test_a_slow_call_is_timed_as_often_as_the_limit_allows(monkeypatch):
    monkeypatch.setattr(efficiency, "LIMIT_S", 0.05)
    times = timed_ms(partial(time.sleep, 0.02))
    assert 1 <= len(times) <= 4
    assert all(20 <= each < 200 for each in times)


def test_threads_are_as_before_even_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_batch_is_left_out_that_half_of_the_memory_would_not_hold(monkeypatch):
    monkeypatch.setattr(efficiency, "_physical_bytes", lambda: 2_000_000_000)
    assert fits(8, 125.0, "cpu")
    assert not fits(8, 126.0, "cpu")
    assert fits(8, float("nan"), "cpu")


def test_samples_are_the_same_every_time():
    plan = plan_of("unet3d_tiny")
    assert sample_of(plan, 2).shape == (2, 3, 64, 64, 12)
    assert torch.equal(sample_of(plan), sample_of(plan))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_memory_of_the_gpu_is_what_torch_allocates():
    network = network_of(plan_of("unet2d_tiny")).eval().cuda()
    own_mb = sum(part.numel() * part.element_size() for part in network.state_dict().values()) / 1e6
    peak_mb = peak_memory_mb(network, torch.zeros(1, 3, 512, 512, 1, device="cuda"), precision="32-true")
    assert own_mb + 8 < peak_mb < own_mb + 200


SMALL = {"fuse4seg_leader": {"width": 8, "heads": 2}, "fuse4seg": {"leader_width": 8, "leader_heads": 2}}
RULES = ("average", "maximum", "laplacian_pyramid", "wavelet")
UNCOUNTED = ("average", "maximum", "wavelet")  # neither matrix products nor convolutions of torch


def plan_of_fusion(architecture):
    output = "regions" if architecture == "fuse4seg" else "image"
    block = {"architecture": architecture, "settings": SMALL.get(architecture, {}), "output": output}
    return plan_of("unet2d_tiny") | {
        "block": block | {"training": {"patch": [32, 32, 1]}},
        "modalities": [{"name": "t1"}, {"name": "pet"}],
        "regions": [{"name": "mass", "labels": [1]}] if output == "regions" else [],
    }


@pytest.mark.parametrize("architecture", [*RULES, *SMALL])
def test_sizes_of_what_fuses(architecture):
    plan = plan_of_fusion(architecture)
    sizes = sizes_of(network_of(plan).eval(), plan)
    assert sizes["voxels"] == 32 * 32
    assert (sizes["parameters"] > 0) == (architecture not in RULES)
    assert (sizes["macs"] > 0) == (architecture not in UNCOUNTED)


def test_a_rule_without_parameters_is_measured_as_any_model(tmp_path, monkeypatch):
    monkeypatch.setattr(efficiency, "REPEATS", 2)
    plan = plan_of_fusion("wavelet")
    write_weights(network_of(plan), tmp_path)
    costs, latencies = measure(plan, tmp_path)
    write_table(costs, tmp_path / "costs.parquet", EFFICIENCY)
    write_table(latencies, tmp_path / "latencies.parquet", LATENCIES)
    assert not costs["parameters"].any()
    assert (latencies["milliseconds"] > 0).all()
