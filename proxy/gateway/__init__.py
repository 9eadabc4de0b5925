# SPDX-License-Identifier: Apache-2.0
"""The gateway: a request from its head to the last byte of its answer."""
