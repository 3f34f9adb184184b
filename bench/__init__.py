"""Benchmarks: ncbook side by side with other ways to compute the same numbers."""
