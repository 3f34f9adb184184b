"""Data sets: made to measure, or shipped with a library."""
