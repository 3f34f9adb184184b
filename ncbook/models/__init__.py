"""Models: one file a family; states are flat tensors with leading batch dimensions."""
