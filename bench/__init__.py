"""Reproducible comparisons of shape-proxy with other proxies: `python -m bench all`."""
