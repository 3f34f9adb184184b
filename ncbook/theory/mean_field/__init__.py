"""The mean-field network and its limit of infinitely many particles (Part II)."""
