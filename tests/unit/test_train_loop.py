"""The loop: what it learns, what it tells, and that an interrupted training ends as one that was left alone."""

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from diffufuse.errors import BadInput
from diffufuse.train.averaging import averaged, ramped
from diffufuse.train.budget import Budget, duration_text, estimate, memory_explained
from diffufuse.train.checkpoints import Interrupted
from diffufuse.train.divergence import LOST_AFTER, Diverged
from diffufuse.train.history import History
from diffufuse.train.loop import fabric_for_this_machine, fit
from diffufuse.train.prefetch import Prefetcher
from diffufuse.train.regimens import supervised

MEASURED = {"throughput", "waiting", "memory"}
SETTINGS = {
    "steps": 30,
    "batch": 3,
    "accumulate": 2,
    "learning_rate": 1e-2,
    "weight_decay": 1e-3,
    "warmup_steps": 4,
    "validate_every": 8,
    "ema": 0.9,
    "precision": "32-true",
}


@dataclasses.dataclass(frozen=True)
class Patches:
    """The least that a batch has; the loop knows no more."""

    images: torch.Tensor
    presence: torch.Tensor
    reference: torch.Tensor

    def to(self, move):
        return Patches(*(move(getattr(self, part.name)) for part in dataclasses.fields(self)))


class Small(nn.Module):
    """Convolutions with what is hard to resume: dropout, and normalization with buffers."""

    dims = 2

    def __init__(self, dropout=0.3):
        super().__init__()
        plain = [nn.Conv3d(4, 8, (3, 3, 1), padding=(1, 1, 0)), nn.ReLU(), nn.Conv3d(8, 1, 1)]
        self.layers = nn.Sequential(*plain[:2], nn.BatchNorm3d(8), nn.Dropout(dropout), plain[2])
        self.layers = self.layers if dropout else nn.Sequential(*plain)

    def forward(self, images, presence):
        return self.layers(torch.cat([images * presence, presence.float()], 1))


def draw(size, generator):
    images = torch.from_numpy(generator.normal(size=(size, 2, 8, 8, 1)).astype(np.float32))
    reference = (images.sum(1, keepdim=True) > 0).float()
    return Patches(images, torch.ones_like(images, dtype=torch.bool), reference)


def augment(batch, *, generator):
    return dataclasses.replace(batch, images=batch.images * (0.9 + 0.2 * torch.rand(1, generator=generator)))


def objective(network, batch, *, progress, generator):
    noise = 0.1 * torch.randn(batch.images.shape, generator=generator)
    loss = F.binary_cross_entropy_with_logits(network(batch.images + noise, batch.presence), batch.reference)
    return {"loss": loss, "loss_cross_entropy": loss.detach(), "progress": torch.tensor(progress)}


def slow_objective(network, batch, **others):
    time.sleep(0.03)
    return objective(network, batch, **others)


def validate(network):
    batch = draw(8, np.random.default_rng(99))
    with torch.no_grad():
        guess = network.eval()(batch.images, batch.presence) > 0
    return {"validation_dice_mass": (guess == batch.reference.bool()).float().mean().item()}


def train(folder, *, network=None, objective=objective, augment=augment, follow=lambda step, values: None, **changes):
    """The small training: its network and its history."""
    torch.manual_seed(0)
    network, history, settings = network or Small(), History(follow), SETTINGS | changes
    fabric = fabric_for_this_machine(settings["precision"])
    plan, own = {"block": {"training": settings}}, {"objective": objective, "augment": augment}
    regimen = supervised.Supervised(network, plan, SimpleNamespace(draw=draw), validate, seed=5, fabric=fabric, **own)
    trained = fit(
        regimen,
        settings=settings,
        seed=5,
        device=fabric.device,
        history=history,
        title="Train small",
        checkpoints=Path(folder) / "checkpoints",
        identity="this one",
    )
    return trained, history


def signaling(at, number):
    """An objective that asks for a signal in its calls `at`; the first two of all are the budget's."""
    calls = iter(range(-1, 10**6))

    def asking(network, batch, **others):
        if next(calls) in at:
            os.kill(os.getpid(), number)
        return objective(network, batch, **others)

    return asking


def curve(history, quantity):
    return {step: value for step, name, value, _ in history.rows if name == quantity}


def assert_same(first, second):
    """Two trainings ended with the same bits in weights and curves."""
    weights = [trained.state_dict() for trained, _ in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    curves = [[row for row in history.rows if row[1] not in MEASURED] for _, history in (first, second)]
    assert curves[0] == curves[1]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(one_thread, tmp_path_factory):
    """A training that nobody interrupted."""
    return train(tmp_path_factory.mktemp("alone"))


def test_an_easy_task_is_learned_and_its_curves_are_kept(alone):
    network, history = alone
    assert not network.training
    assert curve(history, "loss")[30] < curve(history, "loss")[10]
    assert list(curve(history, "validation_dice_mass")) == [8, 16, 24, 30]
    assert curve(history, "validation_dice_mass")[30] > 0.9
    assert curve(history, "learning_rate")[30] == 0
    assert curve(history, "progress")[30] == 1
    expected = {"loss", "loss_cross_entropy", "progress", "learning_rate", "gradient_norm", *MEASURED}
    assert {name for step, name, *_ in history.rows if step == 10} == expected
    units = {name: unit for _, name, _, unit in history.rows}
    assert (units["throughput"], units["memory"]) == ("slices/s", "MB")
    assert 0 <= curve(history, "waiting")[10] <= 1
    assert history.facts["voxels_per_sample"] == 64
    assert history.facts["parameters"] == sum(part.numel() for part in network.parameters())
    assert history.facts["seconds_per_step"] > 0


def test_a_training_stopped_again_and_again_ends_as_one_left_alone(alone, tmp_path):
    for call in (2, 7, 24):
        with pytest.raises(Interrupted) as stopped:
            train(tmp_path, objective=signaling({call}, signal.SIGTERM))
        assert stopped.value.code == 143
    shown = []
    resumed = train(tmp_path, follow=lambda step, values: shown.append(step))
    assert resumed[1].resumed_at_steps == [1, 5, 17]
    assert_same(resumed, alone)
    assert shown == sorted(shown)
    assert {8, 10, 30} <= set(shown)


def test_a_batch_drawn_ahead_is_not_lost_by_an_interruption(alone, tmp_path, monkeypatch):
    threaded = partial(Prefetcher, threaded=True)
    monkeypatch.setattr(supervised, "Prefetcher", lambda draw, generator, **_: threaded(draw, generator))
    with pytest.raises(Interrupted):
        train(tmp_path, objective=signaling({20}, signal.SIGTERM))
    assert_same(train(tmp_path), alone)


def test_sigusr1_saves_and_goes_on(alone, tmp_path):
    undisturbed = train(tmp_path, objective=signaling({9, 40}, signal.SIGUSR1))
    assert_same(undisturbed, alone)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step-000000005.ckpt",
        "step-000000020.ckpt",
    ]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Two trainings in processes of their own, ended at a random moment: signal to (folder, exit status, screen)."""
    jobs = {}
    for number in (signal.SIGKILL, signal.SIGTERM):
        folder = tmp_path_factory.mktemp(number.name)
        body = (
            f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
            "import torch; torch.set_num_threads(1)\n"
            "from diffufuse.train import checkpoints; from diffufuse.logs import job_log\n"
            "from test_train_loop import slow_objective, train\n"
            "checkpoints.CHECKPOINT_EVERY_S = 0.1\n"
            f"with job_log({str(folder / 'job.log')!r}): train({str(folder)!r}, objective=slow_objective)\n"
        )
        jobs[number] = folder, subprocess.Popen([sys.executable, "-c", body], stderr=subprocess.PIPE, text=True)
    results = {}
    for number, (folder, job) in jobs.items():
        while job.poll() is None and not list(folder.glob("checkpoints/step-*")):
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.5))
        job.send_signal(number)
        results[number] = folder, job.wait(timeout=60), job.stderr.read()
    return results


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_job_ended_at_a_random_moment_goes_on_to_the_same_weights_and_curves(ended, alone, number, status):
    folder, code, _ = ended[number]
    assert code == status
    resumed = train(folder)
    assert 0 < resumed[1].resumed_at_steps[0] < 30
    assert_same(resumed, alone)


def test_a_job_that_was_asked_to_stop_says_how_to_go_on(ended):
    *_, screen = ended[signal.SIGTERM]
    assert re.search(r"Train small: stopped on request after step \d+; start it again to go on from there", screen)


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path):
    torch.manual_seed(1)
    start = Small(dropout=0).state_dict()
    trained = []
    for batch, accumulate in ((3, 2), (6, 1)):
        network = Small(dropout=0)
        network.load_state_dict(start)
        quiet = {"objective": silent_objective, "augment": lambda batch, *, generator: batch}
        split = {"batch": batch, "accumulate": accumulate, "steps": 5}
        trained.append(train(tmp_path / str(batch), network=network, **quiet, **split)[0].state_dict())
    for name, weight in trained[0].items():
        torch.testing.assert_close(weight, trained[1][name], msg=name)


def silent_objective(network, batch, **others):
    return {"loss": F.binary_cross_entropy_with_logits(network(batch.images, batch.presence), batch.reference)}


def test_training_leaves_the_global_generator_as_it_was(tmp_path):
    torch.manual_seed(0)
    Small()
    expected = torch.rand(2)
    train(tmp_path, steps=2)
    assert torch.equal(torch.rand(2), expected)


def test_half_precision_trains_in_half_precision(tmp_path):
    kinds = set()

    def watching(network, batch, **others):
        handle = network.get_submodule("layers.0").register_forward_hook(lambda m, i, out: kinds.add(out.dtype))
        terms = objective(network, batch, **others)
        handle.remove()
        return terms

    network, history = train(tmp_path, precision="bf16-mixed", objective=watching)
    assert kinds == {torch.bfloat16}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert curve(history, "validation_dice_mass")[30] > 0.8


def test_a_loss_that_is_not_finite_stops_with_its_term_its_step_and_its_batch(tmp_path):
    def broken(network, batch, *, progress, generator):
        terms = objective(network, batch, progress=progress, generator=generator)
        quality = terms["loss"] * (float("nan") if progress > 0.5 else 1)
        return {"loss": terms["loss"] + quality, "loss_quality": quality.detach()}

    with pytest.raises(Diverged, match=r"Train small: loss_quality is nan at step 16; see the batch in (\S+),") as told:
        train(tmp_path, objective=broken)
    assert isinstance(told.value, FloatingPointError)
    kept = load_file(tmp_path / "offending_batch.safetensors")
    assert set(kept) == {"images", "presence", "reference"}
    assert kept["images"].shape == (3, 2, 8, 8, 1)


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path):
    def edge(network, batch, **others):
        loss = objective(network, batch, **others)["loss"]
        return {"loss": loss + torch.sqrt(loss - loss)}

    with pytest.raises(Diverged, match="gradient_norm is nan at step 1;"):
        train(tmp_path, objective=edge)


def growing_from(first):
    """An objective whose loss is a thousand times what it was from a step on."""

    def growing(network, batch, *, progress, generator):
        loss = objective(network, batch, progress=progress, generator=generator)["loss"]
        return {"loss": loss * (1000 if round(progress * 59) + 1 >= first else 1)}

    return growing


def test_a_loss_that_has_grown_and_stays_stops_the_training(tmp_path):
    with pytest.raises(Diverged, match=r"loss is .* at step 59 .* for 20 updates; see the batch"):
        train(tmp_path, objective=growing_from(40), steps=60)


@pytest.mark.parametrize("first", [1, 60 - LOST_AFTER + 2])
def test_a_loss_that_was_always_large_or_has_just_grown_stops_nothing(tmp_path, first):
    train(tmp_path, objective=growing_from(first), steps=60)


def test_the_average_follows_its_formula_and_copies_buffers():
    network = Small()
    average = averaged(network, decay=0.99)
    weight, expected = network.layers[0].bias, torch.zeros(8)
    for update, value in enumerate((1.0, 5.0, 2.0)):
        nn.init.constant_(weight, value)
        network.layers[2].running_mean.fill_(value)
        average.update_parameters(network)
        kept = (1 + update) / (10 + update) if update else 0.0
        expected = kept * expected + (1 - kept) * value
    torch.testing.assert_close(average.module.layers[0].bias, expected)
    assert average.module.layers[2].running_mean.eq(2.0).all()


def test_the_decay_of_the_average_grows_to_its_final_value():
    assert ramped(0.999, 0) == 0.1
    assert ramped(0.999, 10**6) == 0.999
    assert ramped(0.0, 100) == 0


def test_no_average_gives_the_weights_of_the_last_step(tmp_path, alone):
    network = Small()
    last = train(tmp_path, network=network, ema=0)[0]
    assert all(torch.equal(weight, last.state_dict()[name]) for name, weight in network.state_dict().items())


def test_estimating_a_cost_changes_neither_network_nor_generators():
    network, batch = Small().train(), draw(3, np.random.default_rng(0))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    state = torch.get_rng_state()
    budget = estimate(network, batch, objective, settings=SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())
    convolutions = 64 * (8 * 4 * 9 + 8)
    assert budget.macs_per_sample == convolutions
    assert budget.voxels_per_sample == 64
    assert budget.parameters == sum(weight.numel() for weight in network.parameters())
    assert budget.seconds == pytest.approx(30 * budget.seconds_per_step)
    assert budget.memory_mb > 50


def test_a_budget_is_one_line():
    told = Budget(1_020_000, 3_100_000_000, 6400, 0.11, 165.0, 900.0).text("slice")
    assert told == "1.02 M parameters, 3.1 GMACs a slice, about 0.11 s a step, 3 min in all, 0.9 GB"
    assert (duration_text(40), duration_text(9000)) == ("40 s", "2.5 h")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), None])
def test_lack_of_memory_is_told_with_its_remedy(error):
    with pytest.raises(BadInput, match="halve `batch` and double `accumulate`"), memory_explained("Train", SETTINGS):
        if error:
            raise error
        torch.empty(10**15)


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"), memory_explained("Train", SETTINGS):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("threaded", [True, False])
def test_drawing_ahead_gives_the_same_batches_and_can_be_taken_up_anywhere(threaded):
    plain = np.random.default_rng(3)
    expected = [plain.random() for _ in range(6)]
    first = Prefetcher(lambda generator: generator.random(), np.random.default_rng(3), threaded=threaded)
    drawn = [first.next() for _ in range(4)]
    second = Prefetcher(lambda generator: generator.random(), np.random.default_rng(0), threaded=threaded)
    second.next()
    second.load_state_dict(first.state_dict())
    assert [*drawn, second.next(), second.next()] == expected
