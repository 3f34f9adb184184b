"""What a paper says, what was measured, the verdict, the ledger."""

from ncbook.claims import ledger
from ncbook.claims.record import Chapter
from ncbook.claims.schema import Claim, ClaimsError, load, registry

__all__ = ["Chapter", "Claim", "ClaimsError", "ledger", "load", "registry"]
