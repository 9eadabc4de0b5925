# SPDX-License-Identifier: Apache-2.0
"""The stand-in for Electric over an embedded PostgreSQL: for `shape-proxy demo` and tests, never imported by `serve`.

It evaluates filters with PostgreSQL itself and follows changes by logical decoding. It has Electric's weaknesses on
purpose: what the proxy must not let through does harm here too.
"""

from .answers import Inbound
from .app_schema import app_schema
from .postgres import EmbeddedPostgres
from .settings import StandInSettings
from .stand_in import StandIn

__all__ = ["EmbeddedPostgres", "Inbound", "StandIn", "StandInSettings", "app_schema"]
