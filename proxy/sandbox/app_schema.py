# SPDX-License-Identifier: Apache-2.0
"""The tables and rows of the first user's app."""

from importlib import resources


def app_schema() -> str:
    """SQL for an empty database: thirteen tables and an unpublished one, with rows of two accounts."""
    return "\n".join(resources.files(__package__).joinpath(name).read_text() for name in ("schema.sql", "seed.sql"))
