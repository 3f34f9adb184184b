"""What can be known without training: frames, subspaces, closed forms, bounds."""
