"""MATR and its parts; `network` names the paper."""

from diffufuse.models.matr.network import MATR

__all__ = ["MATR"]
