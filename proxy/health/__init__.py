"""Health: readiness, and the lag between PostgreSQL and the clients."""
