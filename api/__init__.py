"""The counter: HTTP in, HTTP out. Thin handlers: decode, authorise, one call sequence, encode; no SQL and no rule."""
