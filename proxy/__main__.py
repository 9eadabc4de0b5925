"""`python -m proxy` is `shape-proxy`."""

from proxy.cli import main

main()
