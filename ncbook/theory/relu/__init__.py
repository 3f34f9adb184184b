"""The shallow ReLU network: on orthogonally separable data (Part III), on any data (Part IV)."""
