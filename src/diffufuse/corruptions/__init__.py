"""The corruptions: a name in `config/conditions.yaml` under `corruption` is a key here."""

from diffufuse.corruptions.bias_field import bias_field
from diffufuse.corruptions.drift import drift
from diffufuse.corruptions.gaussian_noise import gaussian_noise
from diffufuse.corruptions.kspace_motion import kspace_motion
from diffufuse.corruptions.motion_blur import motion_blur
from diffufuse.corruptions.poisson_noise import poisson_noise
from diffufuse.corruptions.rician_noise import rician_noise

CORRUPTIONS = {
    function.__name__: function
    for function in (gaussian_noise, rician_noise, poisson_noise, motion_blur, kspace_motion, bias_field, drift)
}
