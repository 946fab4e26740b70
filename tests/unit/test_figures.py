import matplotlib as mpl
import numpy as np
import pytest
from scipy import ndimage

from diffufuse.report.pictures import gallery, overlay, panels
from diffufuse.report.style import MARKERS, PALETTE, write_figure
from diffufuse.space.volumes import Volume, read_volume
from diffufuse.store.scan import Scan

SHAPE = (24, 20, 6)
MODALITIES = {"ct": "ct", "pet": "pet", "t1": "mr"}


def row(condition="clean", *, absent=(), prediction=None, **scores):
    generator = np.random.default_rng(1)
    images = generator.uniform(0, 100, (3, *SHAPE)).astype(np.float32)
    presence = np.ones((3, *SHAPE), bool)
    for channel in absent:
        images[channel], presence[channel] = 0, False
    mask = tumor() if prediction is None else prediction
    return overlay.Row(
        condition, Scan(images, presence, np.ones(SHAPE, bool)), mask, **({"dice": 0.5, "hd95_mm": 7} | scores)
    )


def tumor():
    mask = np.zeros(SHAPE, bool)
    mask[8:14, 6:12, 2] = True
    mask[8:18, 6:16, 4] = True
    return mask


def draw_overlay(*rows, reference=None):
    volume = Volume(tumor() if reference is None else reference, np.diag([2.0, 2.0, 3.0, 1.0]))
    return overlay.draw(rows, volume, case="P-1", modalities=MODALITIES)


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def test_the_palette_has_a_marker_for_every_color_and_no_two_alike_in_gray():
    gray = sorted(np.dot(mpl.colors.to_rgb(color), (0.299, 0.587, 0.114)) for color in PALETTE[:3])
    assert min(np.diff(gray)) > 0.05
    assert len(set(MARKERS)) == len(set(PALETTE)) == 8


def test_the_same_figure_gives_the_same_bytes_and_embeds_its_fonts(tmp_path):
    for name in ("first", "second"):
        write_figure(draw_overlay(row()), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    for kind in ("pdf", "png"):
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()
    pdf = (tmp_path / "first.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_the_users_own_settings_do_not_change_a_figure():
    with mpl.rc_context({"font.size": 30, "figure.dpi": 33}):
        figure = draw_overlay(row())
        assert mpl.rcParams["font.size"] == 30
    assert figure.get_dpi() == 100


def test_the_slice_with_most_reference_is_shown():
    assert panels.shown_slice(tumor(), []) == 4
    assert any("axial slice 5 of 6" in text for text in texts(draw_overlay(row())))


def test_without_reference_the_slice_with_most_prediction_is_shown():
    none, prediction = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    prediction[0, 0, 1] = True
    assert panels.shown_slice(none, [none, prediction]) == 1
    assert panels.shown_slice(none, [none]) == 3


def test_an_absent_modality_is_hatched_and_named_and_not_black():
    figure = draw_overlay(row(), row("no-pet", absent=[1]))
    panel = figure.axes[4]
    assert [text.get_text() for text in panel.texts] == ["absent"]
    assert panel.patch.get_hatch() == "////"
    assert panel.images[0].get_array().mask.all()
    assert texts(figure).count("absent") == 1


def test_a_modality_keeps_its_gray_scale_over_the_conditions():
    louder = row("gauss-0.3")
    louder.scan.images[:] *= 3
    figure = draw_overlay(row(), louder)
    for channel in range(3):
        assert figure.axes[channel].images[0].get_clim() == figure.axes[3 + channel].images[0].get_clim()


def test_gray_scales_follow_the_modality():
    scans = [row("no-pet", absent=[1, 2]).scan, row().scan]
    scans[1].images[1] = 2
    assert panels.window(scans, 0, "ct") == (-160, 240)
    assert panels.window(scans, 1, "pet") == (0, 5)
    scans[1].images[1] = 12
    assert panels.window(scans, 1, "pet") == (0, 12)
    assert panels.window(scans, 2, "mr") == pytest.approx((1, 99), abs=1)
    assert panels.window(scans[:1], 2, "mr") == (0, 0)


def test_contours_lie_around_the_masks_and_the_right_is_on_the_left():
    axes = draw_overlay(row()).axes[0]
    reference = axes.collections[0].get_paths()[0].vertices
    # 8:18 and 6:16 voxels of 2 mm, and the whole volume is in view
    assert reference.min(axis=0) == pytest.approx((16, 12), abs=1.1)
    assert reference.max(axis=0) == pytest.approx((36, 32), abs=1.1)
    assert axes.get_xlim() == (48, 0)
    assert axes.images[0].get_array()[3, 5] == row().scan.images[0][5, 3, 4]


def test_scores_stand_beside_their_condition():
    found = texts(draw_overlay(row(dice=0.8125, hd95_mm=float("nan")), row("no-pet", prediction=np.zeros(SHAPE, bool))))
    assert "Dice 0.812\nHD95 undefined" in found
    assert "Dice 0.500\nHD95 7.0 mm\nnothing predicted" in found


def test_masks_that_fill_the_view_and_bodies_that_are_empty_can_be_drawn(recwarn):
    full = row(prediction=np.ones(SHAPE, bool))
    full.scan.body[:] = False
    draw_overlay(full, reference=np.ones(SHAPE, bool))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "at least one"),
        ([row(prediction=np.zeros((2, 2, 2), bool))], "predictions of shape"),
        ([overlay.Row("clean", Scan(np.zeros((1, *SHAPE)), None, None), tumor(), 0, 0)], "images of shape"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, told):
    with pytest.raises(ValueError, match=told):
        draw_overlay(*rows)


@pytest.mark.real
def test_a_real_patient_can_be_drawn(shared_data, tmp_path):
    folder = shared_data / "sts_ibsi" / "nifti" / "STS_002"
    image, mask = (read_volume(folder / f"MR_T1_{kind}.nii.gz") for kind in ("image", "mask"))
    everywhere = np.ones(image.shape, bool)
    prediction = ndimage.binary_dilation(mask.array, iterations=2)
    scan = Scan(image.array[None], everywhere[None], everywhere)
    figure = overlay.draw(
        [overlay.Row("clean", scan, prediction, 0.8, 4.0)], mask, case="STS-002", modalities={"t1": "mr"}
    )
    write_figure(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert len(figure.axes[0].collections) == 2


def gallery_case(name, *, absent=()):
    seen = row(absent=list(absent)).scan
    return gallery.Shown(name, seen, tumor().astype(np.uint8), (2.0, 2.0, 3.0))


def test_a_gallery_names_its_cases_and_says_what_is_absent():
    cases = [gallery_case("P-1"), gallery_case("P-2", absent=[1])]
    figure = gallery.draw(cases, dataset="sts", modalities=MODALITIES, labels={"mass": 1})
    said = texts(figure)
    milliliters = tumor().sum() * 12 / 1000
    assert {"P-1", "P-2", f"mass {milliliters:.1f} ml", "sts, as prepared"} <= set(said)
    assert said.count("absent") == 1
    assert len(figure.axes) == 2 * len(MODALITIES)
