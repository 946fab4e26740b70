import numpy as np
import pytest

from diffufuse.report.pictures.condition import Pair, draw
from diffufuse.report.style import write_png
from diffufuse.store.scan import Scan

SHAPE = (24, 20, 6)
MODALITIES = {"ct": "ct", "pet": "pet", "t1": "mr"}
SPACING_MM = (2.0, 2.0, 3.0)


def a_scan():
    images = np.random.default_rng(1).uniform(0, 100, (3, *SHAPE)).astype(np.float32)
    return Scan(images, np.ones(images.shape, bool), np.ones(SHAPE, bool))


def labels():
    mask = np.zeros(SHAPE, bool)
    mask[8:18, 6:16, 4] = True
    mask[8:14, 11, 1:5] = True
    return mask


def changed(scan, *, channel=2, by=7.0, absent=()):
    images, presence = scan.images.copy(), scan.presence.copy()
    images[channel] += np.float32(by)
    for place in absent:
        images[place], presence[place] = 0, False
    return Scan(images, presence, scan.body)


def pair(before=None, after=None, **options):
    before = before or a_scan()
    return Pair(before, after or changed(before), labels(), SPACING_MM, **options)


def panels(figure):
    """Rows of six."""
    shown = [axes for axes in figure.axes if axes.get_subplotspec() is not None and axes.get_label() != "<colorbar>"]
    return np.array(shown).reshape(-1, 6)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def shown(axes):
    return np.asarray(axes.images[0].get_array(), np.float64)


def test_one_row_per_modality_shows_before_after_and_difference_in_two_planes():
    both = pair()
    grid = panels(draw(both, title="drift", modalities=MODALITIES))
    assert grid.shape == (3, 6)
    level, depth = 4, 11
    for channel, row in enumerate(grid):
        before, after = both.before.images[channel], both.after.images[channel]
        for axes, volume in zip(row, (before, after, after - before), strict=False):
            assert shown(axes) == pytest.approx(volume[:, :, level].T)
        for axes, volume in zip(row[3:], (before, after, after - before), strict=True):
            assert shown(axes) == pytest.approx(volume[:, depth].T)


def test_both_images_share_a_gray_scale_and_the_difference_has_a_signed_one_with_its_unit():
    figure = draw(pair(), title="drift", modalities=MODALITIES)
    for row in panels(figure):
        assert len({axes.images[0].get_clim() for axes in row[[0, 1, 3, 4]]}) == 1
    change = panels(figure)[2][2].images[0]
    assert change.get_clim() == pytest.approx((-7, 7), rel=1e-4)
    assert change.get_cmap().name == "RdBu_r"
    [bar] = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert bar.get_ylabel() == "difference, a.u."
    assert [label.get_text() for label in bar.get_yticklabels()] == ["-7", "0", "+7"]
    said = [text.strip() for text in texts(panels(figure)[0][0])]
    assert "-160 to 240\nHU" in said


def test_what_did_not_change_is_told_and_what_is_absent_is_hatched():
    before = a_scan()
    grid = panels(draw(pair(before, changed(before, absent=[1])), title="no-pet", modalities=MODALITIES))
    assert "no change" in texts(grid[0][2])
    assert "no change" not in texts(grid[1][2]) + texts(grid[2][2])
    for place in (1, 2, 4, 5):
        assert "absent" in texts(grid[1][place])
        assert np.ma.getmaskarray(grid[1][place].images[0].get_array()).all()
        assert grid[1][place].patch.get_hatch()
    assert "absent" not in texts(grid[1][0])


def test_a_missing_slice_is_hatched_in_the_coronal_plane_alone():
    before = a_scan()
    after = changed(before, by=0)
    after.presence[2, :, :, 2], after.images[2, :, :, 2] = False, 0
    grid = panels(draw(pair(before, after), title="missing-slices", modalities=MODALITIES))
    hidden = np.ma.getmaskarray(grid[2][4].images[0].get_array())
    assert hidden[2].all()
    assert not np.delete(hidden, 2, axis=0).any()
    assert not np.ma.getmaskarray(grid[2][1].images[0].get_array()).any()


def test_the_patient_right_is_on_the_left_and_the_sides_are_named():
    grid = panels(draw(pair(), title="drift", modalities=MODALITIES))
    assert all(axes.get_xlim()[0] > axes.get_xlim()[1] for axes in grid.flat)
    assert {"R", "L"} <= set(texts(grid[0][0]))
    assert {"R", "L"} <= set(texts(grid[0][3]))


def test_normalized_images_have_no_unit_of_a_scanner():
    figure = draw(pair(normalized=True), title="gain-up", modalities=MODALITIES)
    assert any("normalized" in text for text in texts(panels(figure)[0][0]))
    assert not any("HU" in text for text in texts(panels(figure)[0][0]))


class Slices:
    """Stands for a slice store."""

    modalities = list(MODALITIES)

    def labels(self, which):
        return labels().transpose(2, 0, 1).astype(np.uint8)


class Case:
    """Stands for a prepared case."""

    name, slices, spacing_mm = "A", Slices(), SPACING_MM

    def __init__(self):
        self.scan = a_scan()


BLOCKS = {
    name: {"kind": kind, "normalization": {"method": "zscore" if kind == "mr" else "cohort"}}
    for name, kind in MODALITIES.items()
}


def pair_of(condition):
    return Pair.of(Case(), condition, modalities=BLOCKS, study_seed=1, names=("d", "A", "c"))


def test_a_pair_is_the_case_as_acquired_and_under_its_condition():
    made = pair_of({"corruption": "drift", "kinds": ["mr"], "settings": {"amplitude": 0.2}})
    assert np.array_equal(made.before.images, a_scan().images)
    assert np.array_equal(made.after.images[:2], a_scan().images[:2])
    assert made.after.images[2] == pytest.approx(a_scan().images[2] * np.linspace(0.8, 1.2, 6), rel=1e-5)
    assert np.array_equal(made.labels, labels())
    assert not made.normalized


def test_a_condition_after_normalization_is_shown_on_what_a_network_reads():
    made = pair_of({"corruption": "gain", "after": "normalization", "settings": {"change": 0.2}})
    assert made.normalized
    for image in made.before.images:
        assert image.mean() == pytest.approx(0, abs=1e-3)
        assert image.std() == pytest.approx(1, rel=1e-3)
    assert made.after.images == pytest.approx(1.2 * made.before.images, rel=1e-5)


def test_scans_of_another_form_are_refused():
    with pytest.raises(ValueError, match="expected images of shape"):
        draw(pair(), title="drift", modalities={"ct": "ct"})


def test_a_case_without_labels_and_the_same_bytes_on_every_day(tmp_path):
    both = Pair(a_scan(), changed(a_scan()), np.zeros(SHAPE, bool), SPACING_MM)
    for name in ("one.png", "two.png"):
        write_png(draw(both, title="drift", modalities=MODALITIES), tmp_path / name, dpi=40)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
