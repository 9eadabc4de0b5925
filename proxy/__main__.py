# SPDX-License-Identifier: Apache-2.0
"""`python -m proxy` is `shape-proxy`."""

from proxy.cli import main

main()
