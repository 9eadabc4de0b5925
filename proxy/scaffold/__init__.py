# SPDX-License-Identifier: Apache-2.0
"""A first set of policies, keys and settings for a database that is there."""
