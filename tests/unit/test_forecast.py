import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics import forecast as module
from diffufuse.metrics.calibration import brier
from diffufuse.metrics.forecast import LEVELS, STEPS, Forecast, forecast_of, pooled

MB = 2**20
SHAPE = (7, 6, 5)


def drawn(seed, shape=SHAPE):
    draw = np.random.default_rng(seed)
    probability = draw.random(shape).astype(np.float32) ** 3
    return probability, draw.random(shape) < probability, draw.random(shape) < 0.7


def same(one, other):
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("level", "inside", "outside"))


def test_a_small_forecast_is_counted_by_hand():
    said = np.array([0.0, 1.0, 0.5, 0.5, 0.5, 1.0])
    true = np.array([False, True, True, False, False, False])
    found = forecast_of(said, true)
    # 32767.5 is rounded to the even number
    assert found.level.tolist() == [0, 32768, STEPS]
    assert found.inside.tolist() == [0, 1, 1]
    assert found.outside.tolist() == [1, 2, 1]
    assert found.count.tolist() == [1, 3, 2]
    assert found.voxels == 6
    assert found.probability == pytest.approx([0, 0.5, 1], abs=1 / STEPS)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), slab=st.sampled_from([1, 29, 30, 31, 60, 10**6]), confined=st.booleans())
def test_the_size_of_a_slab_does_not_matter(seed, slab, confined):
    probability, reference, within = drawn(seed)
    within = within if confined else None
    whole = forecast_of(probability, reference, within=within)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLAB_VOXELS", slab)
        assert same(forecast_of(probability, reference, within=within), whole)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_only_voxels_within_count_in_any_order_and_shape(seed):
    probability, reference, within = drawn(seed)
    confined = forecast_of(probability, reference, within=within)
    assert same(confined, forecast_of(probability[within], reference[within]))
    order = np.random.default_rng(seed).permutation(within.sum())
    assert same(confined, forecast_of(probability[within][order], reference[within][order]))
    turned = [np.asfortranarray(part)[::-1] for part in (probability, reference, within)]
    assert same(confined, forecast_of(turned[0], turned[1], within=turned[2]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_pooled_is_of_all_voxels_in_one_row(seeds):
    patients = [drawn(seed)[:2] for seed in seeds]
    said, true = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*patients, strict=True))
    together = pooled(forecast_of(*patient) for patient in patients)
    assert same(together, forecast_of(said, true))
    assert together.voxels == said.size


def test_a_level_is_at_most_half_a_step_from_what_was_said():
    said = np.random.default_rng(0).random(5000)
    for one in said[:200]:
        level = forecast_of(np.array([one]), np.array([True])).probability[0]
        assert abs(level - one) <= 0.5 / STEPS + 1e-15
    true = np.random.default_rng(1).random(5000) < said
    exact = np.mean((said - true) ** 2)
    # |d/dp (p - y)²| is at most 2
    assert brier(forecast_of(said, true)) == pytest.approx(exact, abs=2 * 0.5 / STEPS)


def test_a_probability_in_steps_is_kept_exactly():
    level = np.arange(LEVELS)
    for kind in (np.float32, np.float64):
        found = forecast_of((level / STEPS).astype(kind), level % 2 == 0)
        assert np.array_equal(found.level, level)
        assert np.array_equal(found.inside, level % 2 == 0)


def test_a_mask_is_the_forecast_of_one_who_is_certain():
    prediction, reference, _ = drawn(3)
    prediction = prediction > 0.2
    certain = forecast_of(prediction, reference)
    assert same(certain, forecast_of(prediction.astype(np.float32), reference))
    assert certain.level.tolist() == [0, STEPS]


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4), (4, 0, 4)])
def test_of_no_voxels_there_is_a_forecast_without_levels(shape):
    none = forecast_of(np.zeros(shape, np.float32), np.zeros(shape, bool))
    assert none.voxels == none.level.size == 0
    assert same(pooled([]), none)
    assert same(forecast_of(*drawn(0)[:2], within=np.zeros(SHAPE, bool)), none)


@pytest.mark.parametrize("bad", [-0.001, 1.001, np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (6, 5, 4)])
def test_what_is_no_probability_is_refused(bad, place):
    probability, reference, _ = drawn(1)
    probability[place] = bad
    with pytest.raises(ValueError, match=r"probability: expected 0\.\.1, got "):
        forecast_of(probability, reference)


def test_nobody_asks_for_probabilities_outside():
    probability, reference, within = drawn(1)
    probability[~within] = np.nan
    assert forecast_of(probability, reference, within=within).voxels == within.sum()


def on_disk(voxels, folder):
    """A forecast as a volume of thin planes that is read from disk, and its reference."""
    shape = (voxels // 10_000, 100, 100)
    said, true = (
        np.memmap(folder / f"{name}_{voxels}", kind, "w+", shape=shape) for name, kind in (("p", "f4"), ("y", "?"))
    )
    for plane in range(shape[0]):
        draw = np.random.default_rng(plane)
        said[plane], true[plane] = draw.random(shape[1:]), draw.random(shape[1:]) < 0.3
    return said, true


def peak_mb(said, true):
    tracemalloc.start()
    assert forecast_of(said, true).voxels == said.size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / MB


def test_memory_does_not_grow_with_the_volume(tmp_path):
    small_mb, large_mb = (peak_mb(*on_disk(voxels, tmp_path)) for voxels in (2_000_000, 12_000_000))
    assert large_mb < 1.05 * small_mb < 40


def test_counts_beyond_single_precision_stay_exact():
    many = Forecast(np.array([0]), np.array([0]), np.array([2**24]))
    one = Forecast(np.array([0, STEPS]), np.array([0, 1]), np.array([1, 0]))
    together = pooled([many, one, one])
    assert together.count.tolist() == [2**24 + 2, 2]
    assert together.inside.tolist() == [0, 2]
