"""Authorize, then share: equal authorized upstream requests share one. window, flight, cache, desk, hub and heads are
pure and synchronous; trip and sharing do the I/O that they ask for."""
