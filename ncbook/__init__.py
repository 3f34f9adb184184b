"""Neural collapse, run: models, flows, measures and the ledger of claims behind the book."""

__version__ = "0.1.0"
