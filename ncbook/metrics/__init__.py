"""Neural-collapse metrics: tensor in, tensor out."""
