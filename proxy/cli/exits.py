"""What ends a command: each fault is a line on standard error, never a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from proxy.audit.replay import ReplayFault
from proxy.auth.database_check import DatabaseFault
from proxy.auth.keys import KeysFault
from proxy.auth.policy_loader import PoliciesFault
from proxy.auth.revocation import RevocationFault
from proxy.settings import SettingsFault


@contextmanager
def faults_are_lines() -> Iterator[None]:
    try:
        yield
    except (SettingsFault, PoliciesFault, KeysFault, RevocationFault, ReplayFault, DatabaseFault, OSError) as fault:
        click.echo(str(fault), err=True)
        sys.exit(1)
