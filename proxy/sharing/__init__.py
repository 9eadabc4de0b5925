# SPDX-License-Identifier: Apache-2.0
"""Authorize, then share: equal authorized upstream requests share one. All but `delivery` and `source` is pure: what to
do next is returned, and the time is an argument."""
