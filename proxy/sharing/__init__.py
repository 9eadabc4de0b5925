"""Authorize, then share: equal authorized upstream requests share one. buffer, fetch, cache, coalescer, broadcast and
freshness are pure and synchronous; delivery and source do the I/O that they ask for."""
