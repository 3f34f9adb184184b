"""What can be known without training: subspaces, closed forms, bounds; grouped by model."""
