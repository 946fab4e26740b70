"""Regimens of fusion: who learns when, from whom, and that an interrupted game ends as one that was left alone."""

import copy
import os
import signal
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record
from diffufuse.plan.constants import split_sha256
from diffufuse.plan.plans import load_model, make_plan, network_of, plan_modalities
from diffufuse.predict.inference import predict_case
from diffufuse.store.case import PreparedCase
from diffufuse.store.index import index_slices
from diffufuse.store.normalization import normalized
from diffufuse.store.slices import open_slices, write_slices
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.train import game
from diffufuse.train.augmentation import augmentation_of
from diffufuse.train.averaging import ramped
from diffufuse.train.batches import PatchSampler, sampler_of
from diffufuse.train.checkpoints import Interrupted
from diffufuse.train.divergence import Diverged
from diffufuse.train.halves import Halves
from diffufuse.train.history import History
from diffufuse.train.loop import fabric_for_this_machine, fit
from diffufuse.train.player import Player
from diffufuse.train.prefetch import Prefetcher
from diffufuse.train.regimens import REGIMENS, bilevel
from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.run import train_run, write_run

SHAPE = (32, 28, 4)
DISPLAY = {"method": "display", "black": 0.0, "white": 10.0}
MODALITIES = {"t1": {"kind": "mr", "normalization": DISPLAY}, "pet": {"kind": "pet", "normalization": DISPLAY}}
K, WARM_UP, STEPS = 2, 4, 12
TRAINING = {
    "regimen": "bilevel",
    "steps": STEPS,
    "batch": 2,
    "accumulate": 1,
    "patch": [16, 16, 1],
    "foreground_share": 0.5,
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
    "warmup_steps": 2,
    "validate_every": 4,
    "ema": 0.9,
    "precision": "32-true",
    "modality_dropout": 0.0,
    "corruption": {"probability": 0.0, "together": 0.0, "conditions": []},
    "game": {"warm_up_steps": WARM_UP, "inner_steps": K, "leader_learning_rate": 1e-2},
    "fusion_loss": {"decomposition": 0.2, "gradient": 1.0, "anchor": 0.1},
}
LEADER = {"width": 4, "blocks": 1, "heads": 2, "nodes": 1}
BOTH = {f"leader_{name}": value for name, value in LEADER.items()} | {
    "follower_widths": [4, 8],
    "follower_blocks": 1,
    "follower_layers": 1,
    "follower_heads": 2,
}
BLOCK = {"architecture": "fuse4seg", "settings": BOTH, "output": "regions", "training": TRAINING}
FUSER = BLOCK | {"architecture": "fuse4seg_leader", "settings": LEADER, "output": "image"}
# Patient P has two cases, A and B; everybody else is a case.
PATIENTS = {"A": "P", "B": "P", "C": "C", "D": "D", "E": "E", "F": "F"}
RARE = ("A", "B", "D")  # in two patients of five
MEASURED = {"throughput", "waiting", "memory"}


def case_of(folder, name, shape=SHAPE):
    """A tumor with a hot core, of which structure and uptake have different edges; some have a rare second region."""
    draw = np.random.default_rng(ord(name))
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = np.linalg.norm((place - [10 + ord(name) % 8, 14, 2]) * [1, 1, 2], axis=-1)
    images = {
        "t1": (3 + 3 * (place[..., 1] > 14) + 0.3 * draw.random(shape)).astype(np.float32),
        "pet": (9 * (distance < 6) + 0.3 * draw.random(shape)).astype(np.float32),
        "unread": draw.random(shape).astype(np.float32),
    }
    labels = (distance < 6).astype(np.uint8)
    if name in RARE:
        labels[distance < 3] = 2
    whole = np.ones(shape, bool)
    path = folder / f"{name}.b2nd"
    digest = write_slices(path, images=images, presence=dict.fromkeys(images, whole), body=whole, labels=labels)
    statistics = {modality: {"mean": 1.0, "sd": 1.0} for modality in images}
    return PreparedCase(name, open_slices(path, sha256=digest), statistics, np.diag([2.0, 2, 4, 1]))


@pytest.fixture(scope="module", autouse=True)
def small_scale():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilevel, "FEWEST_PERIODS", 3)  # the halves hold for two steps
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    return {name: case_of(folder, name) for name in "ABCDEFV"}


def plan_with(block=BLOCK, *, trained=tuple(PATIENTS), **training):
    validated = [] if "V" in trained else [Case("V", "V", 1, 0, "")]
    cohort = Cohort((*(Case(name, PATIENTS.get(name, name), 1, None, "") for name in trained), *validated))
    regions = {} if block["output"] == "image" else {"mass": [1, 2], "core": [2]}
    return make_plan(
        cohort,
        dataset="d",
        model="m",
        fold=0,
        seed=0,
        study_seed=1,
        block=block | {"training": block["training"] | training},
        modalities=MODALITIES,
        constants={"split_sha256": split_sha256(cohort.training(0)), "modalities": {}},
        regions=regions,
        conditions={},
    )


def regimen_of(plan, cases, *, network=None, kind=None, **others):
    read = {name: case.selected(plan_modalities(plan)) for name, case in cases.items()}
    regions = {entry["name"]: entry["labels"] for entry in plan["regions"]}
    index = index_slices(((name, case.slices) for name, case in read.items()), dataset="d", regions=regions)
    make = kind or REGIMENS[plan["block"]["training"]["regimen"]]
    fabric = fabric_for_this_machine(plan["block"]["training"]["precision"])
    sampler = sampler_of(plan, read, index)
    return make(network or network_of(plan), plan, sampler, score, seed=3, fabric=fabric, **others)


def score(network):
    """A figure that any change of a weight would change."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(2, 2, 16, 16, 1, generator=generator)
    with torch.no_grad():
        return {"validation_score": network.eval()(images, torch.ones_like(images, dtype=torch.bool)).mean().item()}


def fitted(plan, regimen, folder):
    history, settings = History(lambda step, values: None), plan["block"]["training"]
    trained = fit(
        regimen,
        settings=settings,
        seed=3,
        device=torch.device("cpu"),
        history=history,
        title="Train m",
        checkpoints=folder / "checkpoints",
        identity="this",
    )
    return trained, history


def weights(module):
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(weight, second[name]) for name, weight in first.items())


def curve(history, quantity):
    return {step: value for step, name, value, _ in history.rows if name == quantity}


@pytest.fixture(scope="module")
def alone(cases, tmp_path_factory):
    """A game that nobody interrupted, and every update of it: whose, step, and both players' weights after it."""
    plan, updates = plan_with(), []
    regimen, update = regimen_of(plan, cases), Player.update
    start = weights(regimen.network)

    def noted(player, step, *args, **others):
        curves = update(player, step, *args, **others)
        both = [weights(getattr(regimen.network, part)) for part in ("leader", "follower")]
        updates.append((player.name or "follower_", step, *both))
        return curves

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Player, "update", noted)
        trained, history = fitted(plan, regimen, tmp_path_factory.mktemp("alone"))
    return SimpleNamespace(plan=plan, regimen=regimen, start=start, updates=updates, trained=trained, history=history)


def test_stage_1_trains_the_follower_alone_and_then_k_of_it_precede_one_of_the_leader(alone):
    who = [name for name, *_ in alone.updates]
    assert who == ["follower_"] * WARM_UP + (["follower_"] * K + ["leader_"]) * (STEPS - WARM_UP)
    assert [step for _, step, *_ in alone.updates][-K - 1 :] == [STEPS] * (K + 1)
    assert curve(alone.history, "learning_rate")[STEPS] == curve(alone.history, "leader_learning_rate")[STEPS] == 0


def test_the_leader_is_not_touched_before_its_first_turn(alone):
    leader = {name.removeprefix("leader."): weight for name, weight in alone.start.items() if "leader." in name}
    for _, _, now, _ in alone.updates[: WARM_UP + K]:
        assert same(leader, now)
    assert not same(leader, alone.updates[WARM_UP + K][2])


def test_each_update_moves_one_player_and_leaves_the_other_as_it_was(alone):
    for (_, _, leader, follower), (who, _, leader_after, follower_after) in zip(
        alone.updates, alone.updates[1:], strict=False
    ):
        moved, kept = (leader_after, follower_after) if who == "leader_" else (follower_after, leader_after)
        before, same_as = (leader, follower) if who == "leader_" else (follower, leader)
        assert same(same_as, kept)
        assert not same(before, moved)


def test_the_second_stage_begins_with_the_images_on_which_the_first_one_ended(alone):
    network = network_of(alone.plan)
    network.follower.load_state_dict(alone.updates[WARM_UP - 1][3])
    images = torch.rand(2, 2, 16, 16, 1, generator=torch.Generator().manual_seed(1))
    presence = torch.rand(images.shape, generator=torch.Generator().manual_seed(2)) > 0.2
    with torch.no_grad():
        ended = network.follower(network.prior(images, presence), presence.any(1, keepdim=True))
        assert torch.equal(network(images, presence), ended)
    assert curve(alone.history, "validation_score")[WARM_UP] == score(network)["validation_score"]


def test_the_trained_network_has_the_averaged_leader_and_the_last_follower(alone):
    assert same(alone.updates[-1][3], alone.trained.follower.state_dict())
    assert not same(alone.updates[-1][2], alone.trained.leader.state_dict())
    after = [leader["correction.2.bias"] for who, _, leader, _ in alone.updates if who == "leader_"]
    average = after[0]
    for update, weight in enumerate(after[1:], 1):
        average = average + (1 - ramped(0.9, update)) * (weight - average)
    torch.testing.assert_close(alone.trained.leader.correction[2].bias, average)
    assert curve(alone.history, "validation_score")[STEPS] == score(alone.trained)["validation_score"]


def test_the_curves_tell_of_both_players(alone):
    quantities = {name for step, name, *_ in alone.history.rows if step == STEPS}
    losses = {"loss", "loss_cross_entropy", "loss_dice", "loss_boundary", "leader_loss", "leader_loss_task"}
    physical = {f"leader_loss_{name}" for name in ("decomposition", "gradient", "anchor")}
    health = {"leader_task_share", "base_correlation", "detail_correlation", "delta_levels"}
    steps = {"gradient_norm", "leader_gradient_norm", "learning_rate", "leader_learning_rate"}
    assert quantities == losses | physical | health | steps | MEASURED | {"validation_score"}
    values = {name: value for step, name, value, _ in alone.history.rows if step == STEPS}
    assert all(np.isfinite(value) for value in values.values())
    assert 0 < values["leader_task_share"] < 1
    assert 0 < values["delta_levels"] < 255
    terms = [values[f"leader_loss_{name}"] for name in ("task", "decomposition", "gradient", "anchor")]
    assert values["leader_loss"] == pytest.approx(np.dot(terms, [1, 0.2, 1.0, 0.1]), rel=1e-5)


def interrupted(cases, plan, folder, step):
    """Train until the end of a step, where a SIGTERM comes."""
    regimen = regimen_of(plan, cases)
    own = regimen.step

    def asking(number, **others):
        if number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return own(number, **others)

    regimen.step = asking
    with pytest.raises(Interrupted):
        fitted(plan, regimen, folder)


@pytest.mark.parametrize(
    ("stops", "threaded"), [((2, WARM_UP, 7), False), ((2, WARM_UP, 7), True), ((WARM_UP + 1, 11), True)]
)
def test_a_game_stopped_in_either_stage_ends_as_one_left_alone(alone, cases, tmp_path, monkeypatch, stops, threaded):
    ahead = partial(Prefetcher, threaded=threaded)
    monkeypatch.setattr(bilevel, "Prefetcher", lambda draw, generator, **_: ahead(draw, generator))
    for step in stops:
        interrupted(cases, alone.plan, tmp_path, step)
    trained, history = fitted(alone.plan, regimen_of(alone.plan, cases), tmp_path)
    assert history.resumed_at_steps == list(stops)
    assert same(alone.trained.state_dict(), trained.state_dict())
    rows = [[row for row in one.rows if row[1] not in MEASURED] for one in (history, alone.history)]
    assert rows[0] == rows[1]


@pytest.fixture
def shown(monkeypatch):
    """The patients of every batch, in the order of drawing."""
    batches, draw, patch = [], PatchSampler.draw, PatchSampler._patch

    def noted(sampler, size, generator):
        batches.append(set())
        return draw(sampler, size, generator)

    def named(sampler, name, *args):
        batches[-1].add(PATIENTS[name])
        return patch(sampler, name, *args)

    monkeypatch.setattr(PatchSampler, "draw", noted)
    monkeypatch.setattr(PatchSampler, "_patch", named)
    return batches


def test_the_players_never_share_a_patient_within_a_period(cases, shown):
    plan = plan_with(steps=1000, batch=4)
    regimen, generator = regimen_of(plan, cases), np.random.default_rng(0)
    assert regimen.period_steps == 2  # 24 slices, 12 in a step
    halves = []
    for period in range(60):
        regimen._enter_period(period)
        shown.clear()
        for _ in range(3):
            regimen._hand(generator)
        assert len(shown) == 3 * (K + 1)
        leader = set().union(*shown[K :: K + 1])
        follower = set().union(*(seen for place, seen in enumerate(shown) if place % (K + 1) != K))
        assert not leader & follower
        halves.append((frozenset(follower), frozenset(leader)))
    assert set().union(*(leader for _, leader in halves)) == set(PATIENTS.values())
    assert len(set(halves)) > 5


def test_the_patients_are_halved_anew_as_the_game_goes_on(cases, shown, tmp_path):
    plan = plan_with(steps=WARM_UP + 6)
    regimen = regimen_of(plan, cases)
    regimen.period_steps = 3
    periods = []
    enter = regimen._enter_period
    regimen._enter_period = lambda period: (periods.append(period), enter(period))
    fitted(plan, regimen, tmp_path)
    assert periods == [step // 3 for step in range(6)]


def sampler_with(cases):
    plan = plan_with()
    return regimen_of(plan, cases).halves.sampler, plan["patients"]


def test_a_region_of_two_patients_is_in_both_halves(cases):
    sampler, patients = sampler_with(cases)
    for period in range(40):
        for half in Halves(sampler, patients, seed=1).of(period):
            assert half.holders("core")
            assert half.holders("mass") == set(half.cases)
            assert set(half.index["case"]) == set(half.cases)


def test_halves_follow_from_seed_and_period_alone(cases):
    sampler, patients = sampler_with(cases)
    first, second = ([set(Halves(sampler, patients, seed).of(p)[0].cases) for p in range(20)] for seed in (1, 2))
    assert first == [set(Halves(sampler, patients, 1).of(p)[0].cases) for p in range(20)]
    assert first != second


def test_a_game_needs_two_patients(cases):
    with pytest.raises(BadInput, match=r"Train m on d, fold 0: expected at least two training patients, .* got 1;"):
        regimen_of(plan_with(trained=("A", "B")), cases)


def test_a_game_needs_a_second_stage(cases):
    with pytest.raises(BadInput, match="expected fewer warm_up_steps than the 4 steps of the training, got 4;"):
        regimen_of(plan_with(steps=WARM_UP), cases)


@pytest.fixture
def sides(cases):
    """Losses, a network past its first step, and a batch."""
    plan = plan_with()
    network = network_of(plan)
    with torch.no_grad():
        for weight in network.leader.correction.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    batch = sampler_with(cases)[0].draw(4, np.random.default_rng(0))
    return game.Losses.of(plan), network, batch


def test_the_leaders_gradient_is_that_of_its_loss_with_the_follower_held(sides):
    losses, network, batch = sides
    with game.frozen(network.follower):
        task, physical, _ = losses.leader(network, batch, progress=0.5)
        (task + physical).backward()
    assert all(weight.grad is None for weight in network.follower.parameters())
    assert all(weight.requires_grad for weight in network.follower.parameters())
    weight = network.leader.correction[2].bias
    values = []
    for change in (1e-3, -1e-3):
        moved = copy.deepcopy(network)
        moved.leader.correction[2].bias.data += change
        values.append(sum(losses.leader(moved, batch, progress=0.5)[:2]).item())
    assert weight.grad.item() == pytest.approx((values[0] - values[1]) / 2e-3, rel=0.05)


def test_the_follower_gives_the_leader_no_gradient(sides):
    losses, network, batch = sides
    losses.follower(network, batch, *game.fused_at_once(network, [batch]), progress=0.5)["loss"].backward()
    assert all(weight.grad is None for weight in network.leader.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in network.follower.parameters())


def test_images_fused_at_once_are_those_of_each_batch(sides, cases):
    _, network, batch = sides
    other = sampler_with(cases)[0].draw(3, np.random.default_rng(1))
    at_once = game.fused_at_once(network, [batch, other])
    for one, images in zip((batch, other), at_once, strict=True):
        assert not images.requires_grad
        torch.testing.assert_close(images, network.fuse(one.images, one.presence), rtol=0, atol=1e-6)
        assert (images - game.prior_of(network, one)).abs().max() > 1e-3


def test_the_share_of_the_task_shows_whether_the_game_is_alive(sides):
    losses, network, batch = sides

    def share(task, physical):
        network.zero_grad()
        part = game.gradients_of(physical, network.leader)
        (task + physical).backward(retain_graph=True)
        return game.task_share(network.leader, part).item()

    task, physical, _ = losses.leader(network, batch, progress=0.5)
    alone = [
        torch.cat([part.flatten() for part in game.gradients_of(loss, network.leader)]).norm()
        for loss in (task, physical)
    ]
    assert share(task, physical) == pytest.approx((alone[0] / sum(alone)).item(), rel=1e-4)
    assert 0 < share(task, physical) < 1
    assert share(task, physical * 0) == 1
    dead = losses.segmentation(game.segmented(network, network.prior(batch.images, batch.presence), batch), batch, 0.5)
    assert share(dead["dice"][1], physical) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("part", "named"), [("leader", "leader_loss_gradient is nan"), ("follower", "loss_dice")])
def test_a_divergence_names_the_player(cases, tmp_path, monkeypatch, part, named):
    whose = {"leader": "diffufuse.train.fusion_losses.gradient", "follower": "diffufuse.train.losses.soft_dice"}[part]
    monkeypatch.setattr(whose, lambda *args: torch.tensor(float("nan")))
    plan = plan_with()
    with pytest.raises(Diverged, match=named):
        fitted(plan, regimen_of(plan, cases), tmp_path)


def test_the_budget_counts_the_updates_of_both_players(cases):
    regimen = regimen_of(plan_with(), cases)
    before = weights(regimen.network)
    budget = regimen.estimate()
    assert same(before, weights(regimen.network))
    assert all(weight.grad is None and weight.requires_grad for weight in regimen.network.parameters())
    assert budget.parameters == sum(weight.numel() for weight in regimen.network.parameters())
    assert budget.seconds < STEPS * budget.seconds_per_step
    assert budget.macs_per_sample > 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_batches_can_be_accumulated_in_a_game_of_either_precision(cases, tmp_path, precision):
    plan = plan_with(accumulate=2, precision=precision, steps=WARM_UP + 2)
    regimen = regimen_of(plan, cases)
    fitted(plan, regimen, tmp_path)
    assert regimen.samples_per_step == 2 * 2 * (K + 1)


def test_joint_training_leaves_the_leader_to_the_second_stage_and_updates_both_at_once(cases, tmp_path):
    plan = plan_with(regimen="joint", ema=0)
    regimen = regimen_of(plan, cases)
    leader, step = weights(regimen.network.leader), regimen.step
    moved = []

    def watched(number, **others):
        curves = step(number, **others)
        moved.append(not same(leader, weights(regimen.network.leader)))
        return curves

    regimen.step = watched
    _, history = fitted(plan, regimen, tmp_path)
    assert moved == [False] * WARM_UP + [True] * (STEPS - WARM_UP)
    assert {"loss_task", "loss_decomposition", "loss_gradient", "loss_anchor", "delta_levels"} <= {
        name for _, name, *_ in history.rows
    }


def test_joint_training_of_a_leader_that_cannot_move_is_supervised_training(cases, tmp_path):
    silent = {"decomposition": 0.0, "gradient": 0.0, "anchor": 0.0}
    plan = plan_with(regimen="joint", fusion_loss=silent)
    ended = []
    for kind in (None, Supervised):
        network = network_of(plan)
        network.leader.requires_grad_(False)
        regimen = regimen_of(plan, cases, network=network, kind=kind)
        ended.append(fitted(plan, regimen, tmp_path / str(kind))[0].state_dict())
    assert same(*ended)


def test_a_fuser_alone_learns_edges_without_labels(cases, tmp_path):
    plan = plan_with(FUSER, regimen="label_free", steps=40, batch=4)
    regimen = regimen_of(plan, cases)
    _, history = fitted(plan, regimen, tmp_path)
    loss = list(curve(history, "loss_gradient").values())
    assert loss[-1] < 0.8 * loss[0]
    assert curve(history, "delta_levels")[40] > 5
    assert {"loss_decomposition", "loss_anchor", "base_correlation"} <= {name for _, name, *_ in history.rows}


def whole_slices(network, scan, plan):
    images = normalized(scan, modalities=plan_modalities(plan))
    x, y = images.images.shape[1:3]
    parts = [torch.from_numpy(part).permute(3, 0, 1, 2)[..., None] for part in (images.images, images.presence)]
    fuse = getattr(network, "fuse", network)
    with torch.no_grad():
        fused = fuse(*(pad(part, [0, 0, 0, -y % 8, 0, -x % 8]) for part in parts))
    return fused[:, 0, :x, :y, 0].permute(1, 2, 0).numpy(), scan.presence.any(axis=0)


def run_of(plan, cases, folder):
    regions = {entry["name"]: entry["labels"] for entry in plan["regions"]}
    index = index_slices(((name, case.slices) for name, case in cases.items()), dataset="d", regions=regions)
    settings = {"checkpoints": folder / "checkpoints", "follow": lambda step, values: None, "started_unix_s": 0.0}
    return train_run(plan, cases, index, predict=predict_case, fuse=whole_slices, **settings)


def test_nothing_is_learned_and_everything_is_written(cases, tmp_path):
    plan = plan_with(FUSER | {"architecture": "average", "settings": {}}, regimen="fixed")
    paths = {name: tmp_path / name for name in ("weights", "plan", "history", "record")}
    run = run_of(plan, cases, tmp_path)
    write_run(run, **paths)
    record = read_record(paths["record"])
    assert (record["steps"], record["parameters"], record["seconds_per_step"]) == (0, 0, 0)
    assert set(run.history["quantity"]) == {"validation_psnr", "validation_ssim", "validation_qabf"}
    assert run.history["step"].eq(0).all()
    assert 0 < record["last_validation"]["validation_qabf"] < 1
    again = load_model(read_record(paths["plan"]), paths["weights"])
    scan = cases["V"].selected(MODALITIES).scan
    assert np.array_equal(whole_slices(again, scan, plan)[0], whole_slices(run.network, scan, plan)[0])


def test_a_game_is_written_with_scores_of_masks_and_of_images(cases, tmp_path):
    run = run_of(plan_with(), cases, tmp_path)
    shown = {name for name in run.history["quantity"] if name.startswith("validation_")}
    assert shown == {"validation_dice_mass", "validation_dice_core", "validation_qabf"}
    write_run(run, **{name: tmp_path / name for name in ("weights", "plan", "history", "record")})
    again = load_model(run.plan, tmp_path / "weights")
    assert same(run.network.state_dict(), again.state_dict())
    assert read_record(tmp_path / "record")["parameters"] == sum(weight.numel() for weight in again.parameters())


def test_a_fuser_is_shown_patches_of_the_body_of_any_size(cases):
    for size in (16, 64):
        regimen = regimen_of(plan_with(FUSER, regimen="label_free", patch=[size, size, 1]), cases)
        batch = regimen.trial()
        assert batch.reference.shape == (2, 0, size, size, 1)
        assert batch.presence.any(dim=(0, 2, 3, 4)).all()
        assert not batch.images[~batch.presence].any()
        assert 0 <= batch.images.min() < batch.images.max() <= 1


def test_a_fuser_learns_from_pairs_of_one_slice(cases, tmp_path):
    pairs = {name: case_of(tmp_path, name, shape=(24, 20, 1)) for name in "ABCV"}
    plan = plan_with(FUSER, trained=("A", "B", "C"), regimen="label_free", patch=[32, 32, 1], steps=2)
    batch = regimen_of(plan, pairs).trial()
    assert batch.presence.sum(dim=(2, 3, 4)).eq(24 * 20).all()
    assert {"validation_psnr", "validation_ssim", "validation_qabf"} < set(
        run_of(plan, pairs, tmp_path).history["quantity"]
    )


def test_augmented_gray_levels_stay_gray_levels_and_black_stays_black(cases):
    plan = plan_with()
    batch = regimen_of(plan, cases).trial()
    images = batch.images.clone()
    images[:, 1] = 0
    images[:, 0] = 1
    black = batch.to(lambda part: part)
    black = type(batch)(
        images, images, *(getattr(black, name) for name in ("presence", "reference", "quality", "spacing_mm"))
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        after = augmentation_of(plan)(black, generator=generator)
        assert not after.images[:, 1].any()
        assert after.images.max() <= 1
        varied = augmentation_of(plan)(batch, generator=generator).images
        assert 0 <= varied.min() < varied.max() <= 1
        assert not torch.equal(varied, batch.images)
