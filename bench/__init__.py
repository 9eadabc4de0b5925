# SPDX-License-Identifier: Apache-2.0
"""Reproducible comparisons of shape-proxy with other proxies: `python -m bench all`."""
