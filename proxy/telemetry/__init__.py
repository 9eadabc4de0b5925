# SPDX-License-Identifier: Apache-2.0
"""Telemetry: the events that everything worth telling becomes, and the logs and metrics made of them."""
