# SPDX-License-Identifier: Apache-2.0
"""What a check reports: a level, what was found, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    ok = "ok"
    warning = "warning"
    error = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `action` is what an operator should do, empty where all is well."""

    check: str
    level: Level
    message: str
    action: str = ""

    def line(self) -> str:
        """The finding for a terminal."""
        action = f" → {self.action}" if self.action else ""
        return f"{self.level.value:<7} {self.check}: {self.message}{action}"

    def members(self) -> dict[str, str]:
        """The finding as JSON members."""
        return {"check": self.check, "level": self.level.value, "message": self.message, "action": self.action}


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Level.ok, message)


def warning(check: str, message: str, action: str) -> Finding:
    """It works, and may not for long or not for all."""
    return Finding(check, Level.warning, message, action)


def error(check: str, message: str, action: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(check, Level.error, message, action)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all findings."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.error, Level.warning) if level in levels), Level.ok)
