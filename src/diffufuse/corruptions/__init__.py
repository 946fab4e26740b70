"""The corruptions: a name in `config/conditions.yaml` under `corruption` is a key here."""

from diffufuse.corruptions.gaussian_noise import gaussian_noise

CORRUPTIONS = {function.__name__: function for function in (gaussian_noise,)}
