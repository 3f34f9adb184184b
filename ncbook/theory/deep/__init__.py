"""Deep unconstrained features without integrating them (Part IV)."""
