"""Labelled numbers in, figure out."""

from ncbook.figures.panels import Panels
from ncbook.figures.show import Picture, figure

__all__ = ["Panels", "Picture", "figure"]
