"""Labelled numbers in, figure out."""

from ncbook.figures.panels import Panels
from ncbook.figures.scene import Scene
from ncbook.figures.show import Picture, figure
from ncbook.figures.tables import table

__all__ = ["Panels", "Picture", "Scene", "figure", "table"]
