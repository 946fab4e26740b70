"""Pictures of cases: a `{picture}` of `results/report/{study}/{picture}/{dataset}/` is a key of `PICTURES`."""

from collections.abc import Callable

from matplotlib.figure import Figure

from diffufuse.report.pictures import condition, edge_profiles, extremes, fused, gallery, overlay, uncertainty

# (inputs, settings from `study.pictures`) → the picture.
PICTURES: dict[str, Callable[..., Figure]] = {
    "gallery": gallery.picture,
    "conditions": condition.picture,
    "extremes": extremes.picture,
    "overlays": overlay.picture,
    "uncertainty": uncertainty.picture,
    "fused": fused.picture,
    "edge_profiles": edge_profiles.picture,
}
