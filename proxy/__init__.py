"""The authorizing reverse proxy for Electric shapes."""
