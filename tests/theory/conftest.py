"""Its presence lets the tests in the folders below import ``theory_cases``."""
