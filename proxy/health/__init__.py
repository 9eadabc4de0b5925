# SPDX-License-Identifier: Apache-2.0
"""Health: readiness, and the lag between PostgreSQL and the clients."""
