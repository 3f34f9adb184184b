"""The unconstrained features model without integrating it (Part I)."""
