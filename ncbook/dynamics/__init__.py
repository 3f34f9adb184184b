"""Gradient descent and gradient flow over a batch of runs."""
