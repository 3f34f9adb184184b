"""Jobs: what does not fit one batch, such as trainings, run over a grid and kept by content."""

from ncbook.jobs.grid import sweep

__all__ = ["sweep"]
