# SPDX-License-Identifier: Apache-2.0
"""Audit: the log of decisions, and deciding again what was decided."""
