"""The shallow ReLU network on orthogonally separable data (Part III)."""
