"""What holds for every corruption, and what each is known to do."""

import numpy as np
import pytest

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.conditions.corruptions.warp import displacement_mm
from diffufuse.store.normalization import intensity_statistics, normalize

# Strength from 0 to 1, as settings.
STRENGTH = {
    "gaussian_noise": lambda s: {"noise_sd": s},
    "rician_noise": lambda s: {"noise_sd": s},
    "poisson_noise": lambda s: {"noise_sd": s},
    "motion_blur": lambda s: {"length_mm": 20 * s},
    "kspace_motion": lambda s: {"degrees": 8 * s, "translation_mm": 16 * s, "movements": 4},
    "bias_field": lambda s: {"coefficient": s},
    "drift": lambda s: {"amplitude": 0.5 * s},
    "gain": lambda s: {"change": s},
    "ghosting": lambda s: {"ghosts": 5, "intensity": s},
    "streaks": lambda s: {"amplitude_hu": 100 * s, "streaks": 30},
    "downsampling": lambda s: {"slice_mm": 80 * s},
    "warp": lambda s: {"degrees": 2 * s, "translation_mm": 2 * s, "bend_mm": 2 * s},
}
# These draw nothing: in a volume, in one slice. Thick slices change nothing where there is one slice.
NOTHING_DRAWN = {"drift", "gain", "ghosting"}, {"gain", "ghosting", "downsampling"}
SPACING_MM = (2.0, 1.5, 4.0)
SHAPE = (24, 20, 12)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[3:21, 3:17] = True

all_corruptions = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture
def image():
    return np.abs(np.random.default_rng(0).normal(40, 25, SHAPE)).astype(np.float32)


def corrupt(name, image, *, inside=None, seed=3, spacing_mm=SPACING_MM, **settings):
    inside = np.ones(image.shape, bool) if inside is None else inside
    generator = np.random.default_rng(seed)
    return CORRUPTIONS[name](image, inside, settings=settings, spacing_mm=spacing_mm, generator=generator)


def at_strength(name, image, strength, *, inside=INSIDE, seed=3):
    return corrupt(name, image, inside=inside, seed=seed, **STRENGTH[name](strength))


def one_slice(image):
    return image[..., 6:7], INSIDE[..., 6:7]


@all_corruptions
def test_zero_strength_is_identity(name, image):
    assert np.array_equal(at_strength(name, image, 0.0), image)


@all_corruptions
def test_more_strength_changes_more(name, image):
    changes = [np.abs(at_strength(name, image, strength) - image).mean() for strength in (0.1, 0.3, 0.5)]
    assert changes == sorted(changes)
    assert changes[0] > 0


@all_corruptions
def test_the_same_seed_gives_the_same_voxels(name, image):
    assert np.array_equal(at_strength(name, image, 0.3), at_strength(name, image, 0.3))


def test_every_corruption_has_a_strength():
    assert set(STRENGTH) == set(CORRUPTIONS)
    assert not set(CORRUPTIONS) & set(REMOVALS)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - NOTHING_DRAWN[1]))
def test_another_seed_gives_another_slice(name, image):
    image, inside = one_slice(image)
    first, other = (at_strength(name, image, 0.3, inside=inside, seed=seed) for seed in (3, 4))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - NOTHING_DRAWN[0]))
def test_another_seed_gives_another_volume(name, image):
    assert not np.array_equal(at_strength(name, image, 0.3), at_strength(name, image, 0.3, seed=4))


@all_corruptions
@pytest.mark.parametrize("slices", [1, 12])
def test_the_outside_of_the_body_and_the_input_stay_as_they_are(name, slices, image):
    image, inside = image[..., :slices], INSIDE[..., :slices]
    before = image.copy()
    after = at_strength(name, image, 0.5, inside=inside)
    assert np.array_equal(after[~inside], image[~inside])
    assert np.array_equal(image, before)
    assert not np.shares_memory(after, image)
    if (name, slices) != ("downsampling", 1):
        assert (after[inside] != image[inside]).mean() > 0.5


@all_corruptions
@pytest.mark.parametrize("slices", [1, 2, 12])
def test_the_result_is_a_finite_image_of_the_same_form(name, slices, image):
    after = at_strength(name, image[..., :slices], 1.0, inside=INSIDE[..., :slices])
    assert after.dtype == np.float32
    assert after.shape == (*SHAPE[:2], slices)
    assert np.isfinite(after).all()


@all_corruptions
def test_where_nothing_is_inside_nothing_changes(name, image):
    assert np.array_equal(at_strength(name, image, 0.5, inside=np.zeros(SHAPE, bool)), image)


@all_corruptions
def test_a_constant_image_stays_finite(name):
    for value in (0, -1000):
        assert np.isfinite(at_strength(name, np.full(SHAPE, value, np.float32), 0.5)).all()


def test_gaussian_noise_has_the_strength_that_its_name_says(image):
    residual = (at_strength("gaussian_noise", image, 0.3) - image)[INSIDE]
    assert residual.std() == pytest.approx(0.3 * image[INSIDE].std(), rel=0.05)
    assert abs(residual.mean()) < 0.02 * image[INSIDE].std()


@pytest.fixture
def halves():
    """No signal in one half, 100 in the other; the standard deviation is 50."""
    return np.repeat([0.0, 100.0], 20).repeat(40 * 20).reshape(40, 40, 20).astype(np.float32)


def test_rician_noise_raises_the_dark_and_hardly_the_bright(halves):
    noisy, sigma = corrupt("rician_noise", halves, noise_sd=0.2), 0.2 * 50
    assert noisy[:20].mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)
    assert (noisy[:20] ** 2).mean() == pytest.approx(2 * sigma**2, rel=0.02)
    assert noisy[20:].mean() == pytest.approx(100 + sigma**2 / 200, abs=0.2)
    assert noisy[20:].std() == pytest.approx(sigma, rel=0.02)


def test_poisson_noise_has_a_variance_proportional_to_the_mean():
    levels = np.array([0.0, 1.0, 4.0, 10.0])
    image = np.broadcast_to(levels[:, None, None], (4, 100, 50)).astype(np.float32)
    noisy = corrupt("poisson_noise", image, noise_sd=0.3).reshape(4, -1)
    assert noisy.mean(axis=1) == pytest.approx(levels, rel=0.02)
    assert not noisy[0].any()
    assert noisy.var(axis=1)[1:] / levels[1:] == pytest.approx(noisy.var(axis=1)[2] / 4, rel=0.06)
    counts_per_suv = levels.mean() / (0.3 * levels.std()) ** 2
    assert noisy * counts_per_suv == pytest.approx(np.round(noisy * counts_per_suv), abs=1e-3)


def test_poisson_noise_is_as_strong_as_gaussian_noise_of_the_same_number(image):
    strengths = [
        np.sqrt(np.mean((at_strength(name, image, 0.3) - image)[INSIDE] ** 2))
        for name in ("gaussian_noise", "poisson_noise")
    ]
    assert strengths[1] == pytest.approx(strengths[0], rel=0.05)


def test_poisson_noise_leaves_what_is_below_zero(image):
    image[5, 5] = -3
    assert np.array_equal(at_strength("poisson_noise", image, 0.5)[5, 5], image[5, 5])


def moments(image):
    """Sum, center in mm and covariance in mm² of one slice, in the plane."""
    x, y = (np.arange(n) * mm for n, mm in zip(image.shape[:2], SPACING_MM[:2], strict=True))
    plane = image[..., 0].astype(float)
    places = np.stack(np.meshgrid(x, y, indexing="ij"))
    center = (plane * places).sum(axis=(1, 2)) / plane.sum()
    away = places - center[:, None, None]
    return plane.sum(), center, np.einsum("xy,axy,bxy->ab", plane, away, away) / plane.sum()


@pytest.mark.parametrize("length_mm", [1.3, 5.0, 11.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_motion_blur_is_a_line_of_its_length_whatever_the_voxels(length_mm, seed):
    blob = np.zeros((40, 50, 1), np.float32)
    blob[18:22, 24:27] = [[[100]], [[140]], [[80]], [[60]]]
    before, after = moments(blob), moments(corrupt("motion_blur", blob, seed=seed, length_mm=length_mm))
    assert after[0] == pytest.approx(before[0], rel=1e-5)
    assert after[1] == pytest.approx(before[1], abs=1e-3)
    across, along = np.linalg.eigvalsh(after[2] - before[2])
    assert along == pytest.approx(length_mm**2 / 12, rel=1e-3)
    assert across == pytest.approx(0, abs=1e-2)


def test_motion_blur_takes_nothing_from_where_the_image_is_absent():
    image = np.full(SHAPE, 40, np.float32)
    image[~INSIDE] = 1e4
    assert corrupt("motion_blur", image, inside=INSIDE, length_mm=15)[INSIDE] == pytest.approx(40, rel=1e-4)


def test_motion_blur_stays_finite_in_the_worst_of_all_masks():
    """A point together with just those neighbors whose share of it is below 0."""
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    for seed in range(40):
        response = corrupt("motion_blur", point, seed=seed, spacing_mm=(1, 1, 1), length_mm=12)
        inside = (response < -1e-6) | (point > 0)
        blurred = corrupt("motion_blur", 1 - point, inside=inside, seed=seed, spacing_mm=(1, 1, 1), length_mm=12)
        assert np.abs(blurred).max() < 4


def test_motion_blur_does_not_mix_slices(image):
    alone = corrupt("motion_blur", image[..., 4:5], length_mm=11)
    assert corrupt("motion_blur", image, length_mm=11)[..., 4:5] == pytest.approx(alone, abs=1e-3)


def body():
    """A bright smooth ellipsoid in a dark field of view, 80 x 80 x 32 mm."""
    place = [np.linspace(-1, 1, n) * half for n, half in zip((41, 41, 9), (1.6, 1.6, 2.0), strict=True)]
    distance = sum(axis**2 for axis in np.meshgrid(*place, indexing="ij"))
    return (100 / (1 + np.exp(10 * (distance - 1)))).astype(np.float32)


def test_kspace_motion_makes_ghosts_along_y_and_leaves_the_body_in_its_place():
    image = body()
    moved = corrupt("kspace_motion", image, spacing_mm=(2, 2, 4), degrees=0, translation_mm=8, movements=8)
    change = np.abs(moved - image)
    beside, below = change[:8, 16:25].mean(), change[16:25, :8].mean()
    assert below > 3 * beside
    assert moved.min() >= 0
    assert np.corrcoef(moved.ravel(), image.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("lines", [15, 16, 32, 33])
@pytest.mark.parametrize("movements", [1, 3, 4, 8])
def test_kspace_motion_keeps_the_pose_of_the_middle_of_kspace_and_so_the_mean(lines, movements):
    image = np.full((12, lines, 3), 100, np.float32)
    image[4:8, lines // 4 : lines // 2] = 120
    for seed in range(10):
        moved = corrupt("kspace_motion", image, seed=seed, degrees=4, translation_mm=8, movements=movements)
        assert moved.mean() == pytest.approx(image.mean(), rel=1e-5)


def test_kspace_motion_turns_about_the_middle_of_the_image():
    """A small rotation moves a far corner more than the middle."""
    image = np.zeros((41, 41, 3), np.float32)
    image[18:23, 18:23] = image[2:7, 2:7] = image[34:39, 34:39] = 100
    changes = np.zeros(3)
    for seed in range(20):
        moved = corrupt("kspace_motion", image, seed=seed, degrees=4, translation_mm=0, movements=3)
        change = np.abs(moved - image)
        changes += [change[part, part].mean() for part in (slice(2, 7), slice(18, 23), slice(34, 39))]
    assert changes[1] < 0.7 * min(changes[0], changes[2])
    assert changes[0] == pytest.approx(changes[2], rel=0.25)


def test_kspace_motion_of_one_slice_stays_in_its_plane():
    """A disk in the middle can only change by translation; its own rotation is no change, another plane's would be."""
    disk = body()[..., 4:5]
    turned = corrupt("kspace_motion", disk, spacing_mm=(2, 2, 4), degrees=8, translation_mm=0, movements=4)
    shifted = corrupt("kspace_motion", disk, spacing_mm=(2, 2, 4), degrees=0, translation_mm=8, movements=4)
    assert np.abs(turned - disk).mean() < 0.2 * np.abs(shifted - disk).mean()


def test_bias_field_is_smooth_positive_and_a_cubic_polynomial_in_the_exponent():
    ones = np.ones((30, 30, 30), np.float32)
    exponent = np.log(corrupt("bias_field", ones, coefficient=0.5).astype(float))
    assert 0.1 < np.abs(exponent).max() <= 20 * 0.5
    for axis in range(3):
        assert np.abs(np.diff(exponent, axis=axis)).max() < 1
        assert np.diff(exponent, n=4, axis=axis) == pytest.approx(0, abs=1e-4)
        assert np.abs(np.diff(exponent, n=3, axis=axis)).max() > 1e-4
        mixed = np.diff(np.diff(exponent, n=2, axis=axis), n=2, axis=(axis + 1) % 3)
        assert mixed == pytest.approx(0, abs=1e-5)


def test_bias_field_multiplies_and_so_is_the_same_for_every_image(image):
    field = corrupt("bias_field", np.ones(SHAPE, np.float32), coefficient=0.5)
    assert corrupt("bias_field", image, coefficient=0.5) == pytest.approx(image * field, rel=1e-5)


def test_drift_rises_from_one_end_to_the_other():
    gain = corrupt("drift", np.ones((4, 4, 11), np.float32), amplitude=0.2)
    assert gain[0, 0] == pytest.approx(np.linspace(0.8, 1.2, 11), rel=1e-5)
    assert np.ptp(gain, axis=(0, 1)).max() == 0


def test_drift_of_one_slice_is_a_gain_within_the_same_range():
    gains = [corrupt("drift", np.ones((4, 4, 1), np.float32), seed=s, amplitude=0.2) for s in range(50)]
    assert max(np.ptp(gain) for gain in gains) == 0
    drawn = [gain[0, 0, 0] for gain in gains]
    assert 0.8 <= min(drawn) < 0.85
    assert 1.15 < max(drawn) <= 1.2


def test_a_z_score_undoes_a_global_gain_and_not_a_drift(image):
    def scored(image):
        statistics = intensity_statistics(image, INSIDE)
        return normalize(image, INSIDE, settings={"method": "zscore"}, statistics=statistics)

    assert scored(1.2 * image) == pytest.approx(scored(image), abs=1e-5)
    assert np.abs(scored(corrupt("drift", image, amplitude=0.2)) - scored(image)).mean() > 0.05


def test_a_gain_is_the_same_everywhere_and_may_be_a_loss(image):
    assert corrupt("gain", image, change=0.2) == pytest.approx(1.2 * image, rel=1e-6)
    assert corrupt("gain", image, change=-0.2) == pytest.approx(0.8 * image, rel=1e-6)


def star(shape=(81, 81, 1), *, seed, inside=None, streaks, amplitude_hu=50):
    empty, settings = np.zeros(shape, np.float32), {"streaks": streaks, "amplitude_hu": amplitude_hu}
    return corrupt("streaks", empty, inside=inside, seed=seed, spacing_mm=(1, 1, 1), **settings)


def test_a_streak_is_a_straight_line_of_its_height_with_the_opposite_sign_beside_it():
    heights = []
    for seed in range(200):
        alone = star(seed=seed, streaks=1)[..., 0]
        heights.append(alone.flat[np.abs(alone).argmax()])
        line = np.argwhere(alone / heights[-1] > 0.9)
        if len(line) > 60:
            width = np.linalg.svd(line - line.mean(axis=0), compute_uv=False)[1] / np.sqrt(len(line))
            assert width < 0.6
            assert (alone / heights[-1]).min() == pytest.approx(-1 / 8, abs=0.01)
    assert np.std(heights) == pytest.approx(50, rel=0.15)
    assert abs(np.mean(heights)) < 12


def middle_of(stars):
    """Where the mean of many slices' stars is brightest."""
    mean = np.abs(stars).mean(axis=2)
    return np.array(np.unravel_index(mean.argmax(), mean.shape))


def test_streaks_meet_at_one_place_in_the_body_and_fade_away_from_it():
    body = np.zeros((81, 81, 40), bool)
    body[20:60, 30:50] = True
    for seed in range(10):
        stars = star(body.shape, inside=body, seed=seed, streaks=60)
        rod = middle_of(stars[..., :20])
        assert np.abs(rod - middle_of(stars[..., 20:])).max() <= 2
        away = np.hypot(*(np.indices(body.shape[:2]) - rod[:, None, None]))
        near, far = (np.abs(stars[body[..., 0] & part]).mean() for part in (away < 4, away > 15))
        assert near > 2 * far
        assert not np.array_equal(stars[..., 0], stars[..., 1])


def test_streaks_push_nothing_below_what_hounsfield_units_mean():
    air = np.full((40, 40, 3), -1000, np.float32)
    assert corrupt("streaks", air, amplitude_hu=100, streaks=40).min() == -1024
    below = np.full((40, 40, 3), -2000, np.float32)
    assert corrupt("streaks", below, amplitude_hu=100, streaks=40).min() == -2000


def test_ghosting_repeats_the_image_along_y_a_fraction_of_its_width_apart():
    """Of a bar of 100, 4 ghosts of intensity 0.8 take 20 a quarter of the width apart; the kept middle line adds 8."""
    image = np.zeros((24, 40, 6), np.float32)
    image[10:14, 18:22, 2:4] = 100
    expected = np.full(40, 8.0)
    expected[18:22] = 100 - 20 + 8
    for place in (8, 28, 38):
        expected[np.arange(place, place + 4) % 40] = abs(-20 + 8)
    ghostly = corrupt("ghosting", image, ghosts=4, intensity=0.8)
    assert ghostly[10:14, :, 2:4] == pytest.approx(np.broadcast_to(expected[:, None], (4, 40, 2)), abs=1e-3)
    ghostly[10:14, :, 2:4] = 0
    assert ghostly == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("slice_mm", [9.0, 12.0, 31.0])
def test_thick_slices_keep_a_slope_along_z_and_everything_in_the_plane(slice_mm):
    plane = np.random.default_rng(0).uniform(10, 20, (6, 5, 1))
    image = np.broadcast_to(plane, (6, 5, 40)).astype(np.float32)
    assert corrupt("downsampling", image, slice_mm=slice_mm) == pytest.approx(image, rel=1e-5)
    slope = np.broadcast_to(np.arange(40.0), (6, 5, 40)).astype(np.float32)
    edge = 2 * int(np.ceil(slice_mm / SPACING_MM[2]))
    coarse = corrupt("downsampling", slope, slice_mm=slice_mm)
    assert coarse[..., edge:-edge] == pytest.approx(slope[..., edge:-edge], abs=1 / 8)


def test_a_thick_slice_shows_the_mean_of_what_it_holds():
    """A bright slice among dark ones: what is left is its share of a thick one, and the sum stays."""
    image = np.zeros((4, 4, 61), np.float32)
    image[..., 30] = 100
    for seed in range(10):
        coarse = corrupt("downsampling", image, seed=seed, spacing_mm=(1, 1, 2), slice_mm=10)[0, 0]
        assert coarse.sum() == pytest.approx(100, rel=1e-3)
        assert coarse.max() <= 20 + 1e-4
        assert np.count_nonzero(coarse) <= 15


def test_thick_slices_do_not_draw_in_what_lies_outside_the_body():
    image = np.full(SHAPE, 1e4, np.float32)
    inside = np.random.default_rng(1).random(SHAPE) > 0.6
    image[inside] = 40
    assert corrupt("downsampling", image, inside=inside, slice_mm=15)[inside] == pytest.approx(40, rel=1e-5)


@pytest.mark.parametrize("slice_mm", [0, 1.0, SPACING_MM[2]])
def test_slices_no_thicker_than_the_grid_change_nothing(slice_mm, image):
    assert np.array_equal(corrupt("downsampling", image, slice_mm=slice_mm), image)


def remove(name, inside, *, seed=3, **settings):
    generator = np.random.default_rng(seed)
    return REMOVALS[name](inside, settings=settings, spacing_mm=SPACING_MM, generator=generator)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_missing_slices_are_whole_and_as_many_as_told(share):
    inside = np.zeros((8, 6, 40), bool)
    inside[2:6, 2:4, 5:35] = True
    before = inside.copy()
    kept = remove("missing_slices", inside, share=share)
    assert kept.dtype == bool
    assert kept.shape == inside.shape
    assert np.array_equal(kept.any(axis=(0, 1)), kept.all(axis=(0, 1)))
    lost = np.flatnonzero(~kept[0, 0])
    assert len(lost) == round(30 * share)
    assert set(lost) <= set(range(5, 35))
    assert np.array_equal(inside, before)


def test_every_slice_is_as_likely_to_be_missing_and_the_seed_decides():
    inside = np.ones((2, 2, 10), bool)
    lost = np.array([~remove("missing_slices", inside, seed=seed, share=0.3)[0, 0] for seed in range(300)])
    assert lost.mean(axis=0) == pytest.approx(np.full(10, 0.3), abs=0.1)
    assert np.array_equal(lost[3], ~remove("missing_slices", inside, seed=3, share=0.3)[0, 0])


def test_where_nothing_is_inside_no_slice_is_missing():
    assert remove("missing_slices", np.zeros((3, 3, 5), bool), share=0.5).all()


PLANE, STILL = (61, 81), {"degrees": 0.0, "translation_mm": 0.0, "bend_mm": 0.0}


def field(seed=0, spacing_mm=(2.0, 1.5), plane=PLANE, **settings):
    generator = np.random.default_rng(seed)
    return displacement_mm(plane, spacing_mm=spacing_mm, generator=generator, **(STILL | settings))


def test_a_warp_is_a_rotation_about_the_middle_a_translation_and_a_bend():
    turned = field(degrees=90, seed=4)
    assert turned[:, 30, 40] == pytest.approx(0, abs=1e-9)
    x_mm, y_mm = 2.0 * (np.arange(61) - 30)[:, None], 1.5 * (np.arange(81) - 40)[None]
    from_middle = np.stack(np.broadcast_arrays(x_mm, y_mm))
    assert np.hypot(*(from_middle + turned)) == pytest.approx(np.hypot(*from_middle), rel=1e-9)
    shifted = field(translation_mm=3)
    assert np.ptp(shifted, axis=(1, 2)).max() == pytest.approx(0, abs=1e-9)
    assert 0 < np.abs(shifted).max() <= 3
    whole = field(degrees=90, translation_mm=3, bend_mm=6, seed=4)
    assert whole == pytest.approx(turned + field(translation_mm=3, seed=4) + field(bend_mm=6, seed=4))


def test_a_bend_is_bounded_smooth_and_a_third_of_its_bound_in_the_mean():
    bends = np.stack([field(bend_mm=6, seed=seed) for seed in range(60)])
    assert np.abs(bends).max() <= 6
    assert np.hypot(*bends.swapaxes(0, 1)).mean() == pytest.approx(6 / 3, rel=0.1)
    per_mm = [np.abs(np.diff(bends, axis=axis + 2)).max() / mm for axis, mm in enumerate((2.0, 1.5))]
    assert 0.05 < min(per_mm) <= max(per_mm) < 6 * 2 / 32
    assert bends.reshape(60, 2, -1).mean(axis=(0, 2)) == pytest.approx(0, abs=0.3)


def test_a_warp_takes_each_value_from_where_its_displacement_points():
    ramp = (np.arange(61.0)[:, None, None] * 10 + np.arange(81.0)[None, :, None]).repeat(2, axis=2).astype(np.float32)
    settings = {"degrees": 2.0, "translation_mm": 3.0, "bend_mm": 6.0}
    moved = corrupt("warp", ramp, seed=5, spacing_mm=(2.0, 1.5, 4.0), **settings)
    displacement = field(seed=5, **settings)
    expected = ramp[..., 0] + displacement[0] / 2.0 * 10 + displacement[1] / 1.5
    inner = slice(6, -6)
    assert np.abs(displacement).max() > 1
    assert moved[inner, inner] == pytest.approx(expected[inner, inner, None].repeat(2, axis=2), rel=1e-4)
