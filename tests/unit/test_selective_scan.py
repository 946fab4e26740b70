"""Selective scans: equal to their sequential definition, in one dimension and in two."""

from itertools import pairwise

import pytest
import torch

from diffufuse.models.layers import selective_scan as scans
from diffufuse.models.layers.norms import PixelNorm
from diffufuse.models.layers.selective_scan import recurrence, selective_scan
from diffufuse.models.layers.ss2d import Enlarging, Halving, SelectiveScan2d, merged, sequences

LENGTHS = (1, 2, 3, 4, 5, 7, 8, 31, 64, 100, 257)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts_of(length, *, batch=2, directions=3, channels=5, states=4, dtype=torch.float32):
    """Values, steps, rates, write and read."""
    rates = -drawn(directions, channels, states, seed=3).exp()
    write, read = (drawn(length, batch, directions, states, seed=seed) for seed in (4, 5))
    values, steps = (drawn(length, batch, directions, channels, seed=seed) for seed in (1, 2))
    return [part.to(dtype) for part in (values, torch.nn.functional.softplus(steps), rates, write, read)]


def by_definition(values, steps, rates, write, read):
    """One moment after the other."""
    state, told = torch.zeros(*values.shape[1:], rates.shape[-1], dtype=values.dtype), []
    for u, delta, b, c in zip(values, steps, write, read, strict=True):
        state = torch.exp(delta[..., None] * rates) * state + (delta * u)[..., None] * b[:, :, None]
        told.append((state * c[:, :, None]).sum(dim=-1))
    return torch.stack(told)


def relative(one, other):
    return float(((one - other).abs().max() / other.abs().max().clamp(min=1e-30)).detach())


class TestRecurrence:
    @pytest.mark.parametrize("length", LENGTHS)
    def test_it_is_the_loop(self, length):
        factors, terms = drawn(length, 3, 2).sigmoid(), drawn(length, 3, 2, seed=1)
        state, expected = torch.zeros(3, 2), []
        for factor, term in zip(factors, terms, strict=True):
            state = factor * state + term
            expected.append(state)
        first = factors[0].clone()
        assert relative(recurrence(factors, terms), torch.stack(expected)) < 1e-6
        assert torch.equal(factors[0], first)

    def test_factors_of_one_give_sums_and_of_zero_the_terms(self):
        terms = torch.arange(1.0, 14.0)
        assert recurrence(torch.ones(13), terms.clone()).tolist() == terms.cumsum(0).tolist()
        assert torch.equal(recurrence(torch.zeros(13), terms.clone()), terms)


class TestSelectiveScan:
    @pytest.mark.parametrize("most", [1, 10, 1000], ids=["a moment", "ten moments", "all"])
    @pytest.mark.parametrize("length", LENGTHS)
    def test_it_and_its_gradients_are_those_of_the_definition(self, length, most, monkeypatch):
        monkeypatch.setattr(scans, "CPU_CHUNK", most * 2 * 3 * 5 * 4)
        monkeypatch.setattr(scans, "SHORTEST", 1)
        ours = [part.requires_grad_() for part in parts_of(length)]
        theirs = [part.requires_grad_() for part in parts_of(length, dtype=torch.float64)]
        found, expected = selective_scan(*ours), by_definition(*theirs)
        assert relative(found, expected) < 1e-5
        weights = drawn(*found.shape, seed=9)
        found.backward(weights)
        expected.backward(weights.double())
        for name, one, other in zip(("values", "steps", "rates", "write", "read"), ours, theirs, strict=True):
            if other.grad.any():  # the rates have no part in a scan of one moment
                assert relative(one.grad, other.grad) < 1e-5, name

    @pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 2, 4), (1, 4, 6, 16)])
    def test_shapes_of_any_kind(self, shape):
        batch, directions, channels, states = shape
        parts = parts_of(33, batch=batch, directions=directions, channels=channels, states=states)
        assert relative(selective_scan(*parts), by_definition(*parts)) < 1e-5

    def test_a_thousand_moments(self):
        parts = parts_of(1000)
        exact = by_definition(*(part.double() for part in parts))
        assert relative(selective_scan(*parts), exact) < 1e-5

    def test_its_derivatives_are_those_of_finite_differences(self):
        parts = parts_of(6, batch=1, directions=2, channels=2, states=2, dtype=torch.float64)
        assert torch.autograd.gradcheck(selective_scan, [part.requires_grad_() for part in parts])

    @pytest.mark.parametrize("delta", [0.0, 1e-30, 1e3, 1e8])
    def test_nothing_overflows_for_extreme_steps(self, delta):
        parts = parts_of(300)
        parts[1] = torch.full_like(parts[1], delta)
        parts[1][::7] = 1.0
        found = selective_scan(*(part.requires_grad_() for part in parts))
        found.sum().backward()
        assert found.isfinite().all()
        assert all(part.grad.isfinite().all() for part in parts)
        assert relative(found, by_definition(*parts)) < 1e-5

    def test_half_precision_is_scanned_in_single(self):
        parts = parts_of(200)
        with torch.autocast("cpu", torch.bfloat16):
            low = selective_scan(*(part.bfloat16() for part in parts))
        assert low.dtype == torch.float32
        assert relative(low, by_definition(*(part.bfloat16().float() for part in parts))) < 1e-5

    def test_what_is_kept_for_the_gradient_does_not_grow_by_the_number_of_states(self, monkeypatch):
        monkeypatch.setattr(scans, "CPU_CHUNK", 2**12)
        kept = {}
        for states in (4, 32):
            parts = [part.requires_grad_() for part in parts_of(512, batch=1, directions=1, channels=8, states=states)]
            numbers = []
            with torch.autograd.graph.saved_tensors_hooks(lambda t, n=numbers: n.append(t.numel()) or t, lambda t: t):
                selective_scan(*parts)
            kept[states] = sum(numbers)
        everything = 512 * 8 * 32
        assert kept[32] < 0.5 * everything
        assert kept[32] < 6 * kept[4]


class TestSelectiveScan2d:
    def test_sequences_are_rows_and_columns_from_either_end(self):
        features = torch.arange(6.0).reshape(1, 1, 2, 3)
        rows, columns, rows_back, columns_back = sequences(features)[:, 0, :, 0].T.tolist()
        assert rows == [0, 1, 2, 3, 4, 5]
        assert columns == [0, 3, 1, 4, 2, 5]
        assert (rows_back, columns_back) == (rows[::-1], columns[::-1])

    def test_merging_puts_every_pixel_back(self):
        features = drawn(2, 3, 4, 5)
        assert torch.allclose(merged(sequences(features), features.shape[-2:]), 4 * features)

    @pytest.mark.parametrize("direction", range(4))
    def test_each_direction_carries_information_across_the_whole_image(self, direction):
        """A pixel tells all that come after it in the order of the direction, and none before."""
        torch.manual_seed(0)
        layer, size = SelectiveScan2d(4), (9, 7)
        layer.step_bias.data.fill_(-4.0)
        alone = torch.arange(4) == direction
        layer.selection.data[~alone] = 0  # nothing is written or read by the others
        layer.direct.data.zero_()
        features = drawn(1, 8, *size).requires_grad_()
        order = sequences(torch.arange(63.0).reshape(1, 1, *size))[:, 0, direction, 0].long()
        for place in (0, 40, 62):
            told = layer.scan(features)[0].flatten(1)[:, order[place]].sum()
            (gradient,) = torch.autograd.grad(told, features)
            known = gradient[0].abs().amax(dim=0).flatten()[order] > 0
            assert known[: place + 1].all()
            assert not known[place + 1 :].any()

    def test_an_output_pixel_depends_on_every_input_pixel(self):
        torch.manual_seed(0)
        features = drawn(1, 4, 16, 12).requires_grad_()
        SelectiveScan2d(4)(features)[0, :, 8, 6].sum().backward()
        assert (features.grad.abs().amax(dim=1) > 0).all()

    def test_it_learns_what_only_a_far_pixel_tells(self):
        """The sign of the first pixel, asked for in the last quarter of the image; without states that is a guess."""
        errors = {}
        for remembers in (True, False):
            torch.manual_seed(0)
            layer, draw = SelectiveScan2d(4, states=4), torch.Generator().manual_seed(0)
            if not remembers:
                layer.selection.requires_grad_(False).zero_()
            learner = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=3e-2)
            for _ in range(120):
                signs = torch.randn(16, generator=draw).sign()[:, None, None]
                features = torch.zeros(16, 4, 8, 8)
                features[:, 0, :1, :1], features[:, 1] = signs, 1.0
                error = (layer(features)[:, 0, 4:, 4:] - signs).square().mean()
                learner.zero_grad()
                error.backward()
                learner.step()
            errors[remembers] = error.item()
        assert errors[True] < 0.1
        assert errors[False] > 0.9

    def test_untrained_steps_are_between_a_thousandth_and_a_tenth(self):
        torch.manual_seed(0)
        steps = torch.nn.functional.softplus(SelectiveScan2d(16).step_bias)
        assert 0.99e-3 < steps.min() < 2e-3
        assert 0.05 < steps.max() < 0.101

    @pytest.mark.parametrize(
        ("down", "up", "published"),
        [((2, 2, 9, 2), (2, 2, 9, 2), 44_274_033), ((2, 2, 2, 2), (1, 2, 2, 2), 27_427_761)],
    )
    def test_a_u_shape_of_it_has_as_many_parameters_as_both_sizes_of_vm_unet(self, down, up, published):
        """Three channels in and nine classes out, to the last digit: VM-UNet (arXiv 2402.02491)."""
        widths = (96, 192, 384, 768)
        with torch.device("meta"):
            layers = [
                torch.nn.Conv2d(3, 96, 4, 4),
                PixelNorm(96),
                Enlarging(96, 24, factor=4),
                torch.nn.Conv2d(24, 9, 1),
            ]
            for width, *counts in zip(widths, down, up, strict=True):
                for _ in range(sum(counts)):
                    layers += [PixelNorm(width), SelectiveScan2d(width)]
            for fine, coarse in pairwise(widths):
                layers += [Halving(fine, coarse), Enlarging(coarse, fine)]
        assert sum(parameter.numel() for layer in layers for parameter in layer.parameters()) == published

    def test_several_inputs_are_read_each_by_its_own_projection(self):
        torch.manual_seed(0)
        layer, (first, second) = SelectiveScan2d(4, inputs=2), drawn(2, 1, 4, 6, 5)
        told = layer(torch.cat([first, second], dim=1))
        assert told.shape == (1, 4, 6, 5)
        assert not torch.allclose(told, layer(torch.cat([second, first], dim=1)), atol=1e-4)
        layer.projection.weight.data[:, 4:] = 0
        same = layer(torch.cat([first, second], dim=1))
        assert torch.equal(same, layer(torch.cat([first, 9 * second], dim=1)))


class TestGrids:
    def test_halving_reads_the_four_pixels_of_a_patch_alone(self):
        torch.manual_seed(0)
        layer, features = Halving(3, 5), drawn(1, 3, 6, 8).requires_grad_()
        halved = layer(features)
        assert halved.shape == (1, 5, 3, 4)
        halved[0, :, 1, 2].square().sum().backward()
        read = features.grad[0].abs().amax(dim=0) > 0
        assert read.sum() == 4
        assert read[2:4, 4:6].all()

    @pytest.mark.parametrize("factor", [2, 4])
    def test_enlarging_makes_a_square_of_a_pixel(self, factor):
        torch.manual_seed(0)
        layer, features = Enlarging(3, 5, factor=factor), drawn(1, 3, 4, 5)
        before, other = layer(features), features.clone()
        other[:, :, 1, 2] += 1
        changed = (layer(other) - before).abs().amax(dim=(0, 1)) > 0
        assert before.shape == (1, 5, 4 * factor, 5 * factor)
        assert changed.sum() == factor**2
        assert changed[factor : 2 * factor, 2 * factor : 3 * factor].all()
