# SPDX-License-Identifier: Apache-2.0
"""The authorizing reverse proxy for Electric shapes."""
