# SPDX-License-Identifier: Apache-2.0
"""Exit codes: 0, all is well; 1, the command found what it looks for; 2, it was used wrongly or could not run.

What a command finds depends on it: a policy that does not load for check, a refusal for explain, a difference for
replay. A fault is a line on standard error, never a traceback.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from proxy.audit.replay import ReplayFault
from proxy.auth.database_check import DatabaseFault
from proxy.auth.keys import KeysFault
from proxy.auth.policy_loader import PoliciesFault
from proxy.auth.revocation import RevocationFault
from proxy.settings import SettingsFault

FINE: Final = 0
FOUND: Final = 1
COULD_NOT_RUN: Final = 2


@contextmanager
def faults_are_lines() -> Iterator[None]:
    """Ends a command that cannot run with a line for each fault."""
    try:
        yield
    except (
        SettingsFault,
        PoliciesFault,
        KeysFault,
        RevocationFault,
        ReplayFault,
        DatabaseFault,
        OSError,
        UnicodeDecodeError,
    ) as fault:
        click.echo(str(fault), err=True)
        sys.exit(COULD_NOT_RUN)
