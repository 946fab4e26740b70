"""Training in two stages: which weights move when, where the second stage begins, and what an interruption changes."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_regimens import FUSER, MEASURED, curve, fitted, plan_with, regimen_of, run_of, same, score, weights
from test_regimens import cases as cases  # a fixture
from test_regimens import small_scale as small_scale  # likewise

from diffufuse.errors import BadInput
from diffufuse.plan.plans import load_model
from diffufuse.train.checkpoints import Interrupted
from diffufuse.train.player import Player, rate_factor
from diffufuse.train.run import write_run

FIRST, STEPS = 4, 10
SMALLEST = {"width": 4, "blocks": 1, "heads": 2, "nodes": 1}
BLOCK = FUSER | {"architecture": "cddfuse", "settings": SMALLEST}
TRAINING = {
    "regimen": "two_stage",
    "steps": STEPS,
    "first_stage_steps": FIRST,
    "restoration_loss": {"squared": 2.0, "similarity": 10.0, "gradient": 5.0, "decomposition": 2.0},
    "fusion_loss": {"maximum": 1.0, "gradient": 10.0, "decomposition": 2.0},
}
# A curve is drawn at every tenth step and the last one, and these are fewer than ten in the first stage.
TERMS = {"loss_maximum": {STEPS}, "loss_decomposition": {STEPS}, "loss_squared": set(), "delta_levels": {STEPS}}
FUSION_UNITS = ("base_fusion.", "detail_fusion.")


def plan_of(**training):
    return plan_with(BLOCK, **TRAINING | training)


@pytest.fixture(scope="module")
def alone(cases, tmp_path_factory):
    """A training that nobody interrupted: before and after each update, all weights; and which player made it."""
    plan, updates, update = plan_of(), [], Player.update
    regimen = regimen_of(plan, cases)

    def noted(player, step, *args, **others):
        before = weights(regimen.network)
        curves = update(player, step, *args, **others)
        updates.append(SimpleNamespace(step=step, player=player, before=before, after=weights(regimen.network)))
        return curves

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Player, "update", noted)
        trained, history = fitted(plan, regimen, tmp_path_factory.mktemp("alone"))
    return SimpleNamespace(plan=plan, regimen=regimen, updates=updates, trained=trained, history=history)


def moved(update):
    return {name for name, weight in update.before.items() if not torch.equal(weight, update.after[name])}


def test_the_first_stage_moves_what_restores_and_the_second_one_everything(alone):
    every = set(alone.updates[0].before)
    fusing = {name for name in every if name.startswith(FUSION_UNITS)}
    assert [update.step for update in alone.updates] == list(range(1, STEPS + 1))
    for update in alone.updates[:FIRST]:
        assert update.player is alone.regimen.first.player
        assert moved(update) == every - fusing
    for update in alone.updates[FIRST:]:
        assert update.player is alone.regimen.second.player
        assert every - fusing <= moved(update)
    # Units that begin as the identity have weights behind a zero, which move from the second step on.
    assert moved(alone.updates[-1]) == every


def test_the_second_stage_begins_with_the_averaged_weights_of_the_first(alone):
    ended, begins = alone.updates[FIRST - 1].after, alone.updates[FIRST].before
    assert same(begins, alone.regimen.first.average.module.state_dict())
    assert not same(begins, ended)
    assert alone.regimen.first.average.n_averaged == FIRST


def test_what_is_kept_is_the_average_of_the_second_stage_alone(alone):
    assert alone.regimen.second.average.n_averaged == STEPS - FIRST
    assert same(alone.trained.state_dict(), alone.regimen.second.average.module.state_dict())
    assert not same(alone.trained.state_dict(), alone.updates[-1].after)


def test_each_stage_has_a_schedule_of_its_own(alone):
    warmup = alone.plan["block"]["training"]["warmup_steps"]
    for steps, player in ((FIRST, alone.regimen.first.player), (STEPS - FIRST, alone.regimen.second.player)):
        assert player.rate.last_epoch == steps
        assert player.rate.get_last_lr() == [0]
        assert [rate_factor(step, {"steps": steps, "warmup_steps": warmup}) for step in range(warmup)] == [0.5, 1.0]


def test_each_stage_shows_its_own_terms_and_validates_its_own_average(alone):
    rows = {name: {step for step, quantity, *_ in alone.history.rows if quantity == name} for name in TERMS}
    assert rows == TERMS
    validated = curve(alone.history, "validation_score")
    assert validated[FIRST] == score(alone.regimen.first.average.module)["validation_score"]
    assert validated[STEPS] == score(alone.trained)["validation_score"]


def test_the_terms_of_the_first_stage_are_those_of_restoration(cases, monkeypatch, tmp_path):
    monkeypatch.setattr("diffufuse.train.loop.CURVE_EVERY_STEPS", 1)
    plan = plan_of()
    _, history = fitted(plan, regimen_of(plan, cases), tmp_path)
    first, second = ({name for step, name, *_ in history.rows if step == at} - MEASURED for at in (1, STEPS))
    assert {"loss_squared", "loss_similarity", "loss_gradient", "loss_decomposition"} <= first
    assert {"loss_maximum", "loss_gradient", "loss_decomposition", "delta_levels"} <= second
    assert not {"loss_maximum", "delta_levels"} & first
    assert not {"loss_squared", "loss_similarity"} & second


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


@pytest.mark.parametrize("stops", [(2,), (FIRST,), (FIRST + 1,), (2, FIRST, 7)])
def test_a_training_stopped_in_either_stage_ends_as_one_left_alone(alone, cases, tmp_path, stops):
    for step in stops:
        interrupted(cases, alone.plan, tmp_path, step)
    trained, history = fitted(alone.plan, regimen_of(alone.plan, cases), tmp_path)
    assert history.resumed_at_steps == list(stops)
    assert same(alone.trained.state_dict(), trained.state_dict())
    rows = [[row for row in one.rows if row[1] not in MEASURED] for one in (history, alone.history)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("first", [STEPS, STEPS + 3])
def test_a_first_stage_that_takes_all_steps_is_refused(cases, first):
    with pytest.raises(BadInput, match=r"first_stage_steps: expected fewer than the 10 steps .* got 1[03]"):
        regimen_of(plan_of(first_stage_steps=first), cases)


def test_a_larger_loss_of_the_second_stage_is_no_divergence(cases, monkeypatch, tmp_path):
    """The median of the first stage, where restoring has become easy, says nothing of the second."""
    monkeypatch.setattr("diffufuse.train.divergence.LOST_AFTER", 2)
    tiny = {name: 1e-4 * weight for name, weight in TRAINING["restoration_loss"].items()}
    plan = plan_of(restoration_loss=tiny, warmup_steps=0)
    regimen = regimen_of(plan, cases)
    fitted(plan, regimen, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("diffufuse.train.divergence.Watch.forget", lambda watch: None)
        with pytest.raises(BadInput, match="times its median"):
            fitted(plan, regimen_of(plan, cases), tmp_path / "remembering")


def test_the_budget_is_that_of_both_stages(cases):
    regimen = regimen_of(plan_of(), cases)
    before = weights(regimen.network)
    budget = regimen.estimate()
    assert budget.seconds == pytest.approx(budget.seconds_per_step * STEPS)
    assert budget.parameters == sum(weight.numel() for weight in regimen.network.parameters())
    assert same(before, regimen.network.state_dict())


def test_a_run_is_written_and_its_image_is_the_trained_one(cases, tmp_path):
    run = run_of(plan_of(), cases, tmp_path)
    assert {"validation_psnr", "validation_ssim", "validation_qabf"} <= set(run.history["quantity"])
    assert np.isfinite(run.history["value"]).all()
    write_run(run, **{name: tmp_path / name for name in ("weights", "plan", "history", "record")})
    assert same(run.network.state_dict(), load_model(run.plan, tmp_path / "weights").state_dict())


def test_both_stages_read_batches_of_their_own(cases):
    regimen = regimen_of(plan_of(), cases)
    first, second = (stage.batches.next().images for stage in (regimen.first, regimen.second))
    assert not torch.equal(first, second)
