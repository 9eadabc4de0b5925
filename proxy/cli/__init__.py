# SPDX-License-Identifier: Apache-2.0
"""The command line: `shape-proxy`. Each module here is a group of commands."""

import click

from proxy.cli.checking import check
from proxy.cli.explaining import explain
from proxy.cli.keys import keys
from proxy.cli.minting import mint
from proxy.cli.printing import env_example, reference_cli
from proxy.cli.proving import prove
from proxy.cli.replaying import replay
from proxy.cli.serving import demo, serve
from proxy.cli.starting import init
from proxy.cli.types import types
from proxy.doctor.command import doctor


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shape-proxy")
def main() -> None:
    """The authorizing reverse proxy for Electric shapes. Settings come from the environment: see .env.example."""


for command in (
    init,
    serve,
    check,
    prove,
    doctor,
    explain,
    replay,
    keys,
    mint,
    types,
    demo,
    env_example,
    reference_cli,
):
    main.add_command(command)
