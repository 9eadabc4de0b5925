# SPDX-License-Identifier: Apache-2.0
"""The demo: everything at once on one machine."""
