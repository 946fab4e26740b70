"""Registry of corruptions; the keys are the values of `corruption` in `config/conditions.yaml`."""

from diffufuse.conditions.corruptions.bias_field import bias_field
from diffufuse.conditions.corruptions.downsampling import downsampling
from diffufuse.conditions.corruptions.drift import drift
from diffufuse.conditions.corruptions.gain import gain
from diffufuse.conditions.corruptions.gaussian_noise import gaussian_noise
from diffufuse.conditions.corruptions.ghosting import ghosting
from diffufuse.conditions.corruptions.kspace_motion import kspace_motion
from diffufuse.conditions.corruptions.missing_slices import missing_slices
from diffufuse.conditions.corruptions.motion_blur import motion_blur
from diffufuse.conditions.corruptions.poisson_noise import poisson_noise
from diffufuse.conditions.corruptions.rician_noise import rician_noise
from diffufuse.conditions.corruptions.streaks import streaks
from diffufuse.conditions.corruptions.warp import warp

# These change voxel values: image to image.
CORRUPTIONS = {
    "gaussian_noise": gaussian_noise,
    "rician_noise": rician_noise,
    "poisson_noise": poisson_noise,
    "motion_blur": motion_blur,
    "kspace_motion": kspace_motion,
    "ghosting": ghosting,
    "bias_field": bias_field,
    "drift": drift,
    "gain": gain,
    "streaks": streaks,
    "downsampling": downsampling,
    "warp": warp,
}
# These remove voxels, and return the remaining presence.
REMOVALS = {"missing_slices": missing_slices}
