"""Jobs: what does not fit one batch, such as trainings, run over a grid and kept by content."""

from ncbook.jobs.grid import JobsError, sweep

__all__ = ["JobsError", "sweep"]
