"""The whole proxy held against PostgreSQL: the same question to both, row by row, in pages and in live streams."""
