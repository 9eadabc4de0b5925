"""Telemetry: the events that everything worth telling becomes, and the logs and metrics made of them."""
