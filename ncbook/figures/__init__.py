"""Tables in, figure out."""
