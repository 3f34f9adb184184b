"""What a paper says, what was measured, the verdict, the ledger."""
