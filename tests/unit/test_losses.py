import math

import numpy as np
import pytest
import torch

from diffufuse.train import losses
from diffufuse.train.objectives import auc


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def half(size=8):
    reference = torch.zeros(2, 1, size, size, 1)
    reference[:, :, : size // 2] = 1
    return reference


def test_a_sure_and_right_answer_costs_nothing_and_a_wrong_one_much():
    reference = half()
    for sign, low, high in ((50, 0, 1e-3), (-50, 10, 100)):
        logits = (reference * 2 - 1) * sign
        total = losses.cross_entropy(logits, reference, softmax=False) + losses.soft_dice(logits.sigmoid(), reference)
        assert low <= float(total) <= high


def test_cross_entropy_of_a_coin_is_log_2_and_of_a_softmax_log_of_its_channels():
    assert float(losses.cross_entropy(torch.zeros(2, 1, 8, 8, 1), half(), softmax=False)) == pytest.approx(math.log(2))
    onehot = torch.zeros(1, 4, 2, 2, 1)
    onehot[:, 2] = 1
    assert float(losses.cross_entropy(torch.zeros_like(onehot), onehot, softmax=True)) == pytest.approx(math.log(4))


def test_distance_is_in_millimeters_over_the_diagonal():
    reference = torch.zeros(1, 1, 6, 8, 1)
    reference[0, 0, 2, 3, 0] = 1
    distance = losses.boundary_distance(reference, torch.tensor([[2.0, 3.0, 5.0]]))[0, 0, :, :, 0]
    diagonal = math.sqrt(12**2 + 24**2 + 5**2)
    assert float(distance[5, 3]) == pytest.approx(6 / diagonal)
    assert float(distance[2, 7]) == pytest.approx(12 / diagonal)
    assert float(distance[2, 3]) == pytest.approx(2 / diagonal)


def test_a_patch_without_a_boundary_has_distance_zero():
    for value in (0.0, 1.0):
        assert not losses.boundary_distance(torch.full((1, 1, 6, 6, 1), value), torch.ones(1, 3)).any()


def test_unsigned_and_signed_boundary_loss_have_the_same_gradient():
    reference = half()
    distance = losses.boundary_distance(reference, torch.ones(2, 3))
    signed = torch.where(reference > 0, -distance, distance)
    gradients = []
    for loss in (lambda p: losses.boundary(p, reference, distance), lambda p: (signed * p).mean()):
        probability = drawn(2, 1, 8, 8, 1).sigmoid().requires_grad_()
        loss(probability).backward()
        gradients.append(probability.grad)
    assert torch.allclose(*gradients, atol=1e-9)


def test_only_places_with_a_present_modality_count_for_the_denoiser():
    predicted, truth = drawn(2, 3, 4, 5, 5), torch.zeros(2, 3, 4, 5, 5)
    inside = torch.zeros(2, 3, 5, 5, dtype=torch.bool)
    inside[:, 0, :2] = True
    expected = predicted[:, 0, :, :2].square().mean()
    assert torch.allclose(losses.noise_prediction(predicted, truth, inside), expected)
    assert float(losses.restoration(predicted, truth, torch.zeros_like(inside))) == 0


def test_alignment_is_least_for_agreeing_tokens_and_punishes_constant_ones():
    inside, gates = torch.ones(2, 3, 16, 16, dtype=torch.bool), torch.full((2, 3), 1 / 3)
    tokens = drawn(2, 1, 4, 16, 16)
    tokens = (tokens - tokens.mean()) / tokens.std() * 1.2
    agreeing = losses.alignment(tokens.expand(2, 3, 4, 16, 16), gates, inside)
    differing = losses.alignment(drawn(2, 3, 4, 16, 16) * 1.2, gates, inside)
    constant = losses.alignment(torch.zeros(2, 3, 4, 16, 16), gates, inside)
    assert float(agreeing) < 0.05 < float(differing)
    assert float(constant) > 0.45


def test_the_barycenter_is_a_target_without_gradient():
    tokens = drawn(1, 2, 1, 1, 2).requires_grad_()
    inside = torch.tensor([[True, False]])[:, :, None, None].expand(1, 2, 1, 2)
    losses.alignment(tokens, torch.tensor([[1.0, 0.0]]), inside).backward()
    assert not tokens.grad[:, 1].any()


def test_gate_entropy_is_log_m_for_uniform_gates_zero_for_one_and_is_raised_by_the_objectives_sign():
    uniform, one = torch.full((2, 3), 1 / 3), torch.tensor([[1.0, 0.0, 0.0]])
    assert float(losses.gate_entropy(uniform)) == pytest.approx(math.log(3))
    assert float(losses.gate_entropy(one)) == 0
    logits = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    before = losses.gate_entropy(logits.softmax(dim=1))
    (-before).backward()  # the sign of the objective
    with torch.no_grad():
        after = losses.gate_entropy((logits - 0.1 * logits.grad).softmax(dim=1))
    assert after > before


def test_reliability_is_cross_entropy_over_the_present():
    logit, quality = torch.tensor([[0.0, 5.0]]), torch.tensor([[1.0, 0.0]])
    assert float(losses.reliability(logit, quality, torch.tensor([[True, False]]))) == pytest.approx(math.log(2))


def test_auc_counts_pairs_in_the_right_order():
    score, good = torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert float(auc(score, good)) == pytest.approx((2 + 1.5) / 4)
    assert np.isnan(float(auc(score, torch.ones(4))))
