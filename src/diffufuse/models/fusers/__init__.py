"""Fusers without training: rules that make one image of several."""

from diffufuse.models.fusers.pixelwise import Average, Maximum
from diffufuse.models.fusers.pyramid import LaplacianPyramid
from diffufuse.models.fusers.wavelet import Wavelet

__all__ = ["Average", "LaplacianPyramid", "Maximum", "Wavelet"]
