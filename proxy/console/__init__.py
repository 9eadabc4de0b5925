# SPDX-License-Identifier: Apache-2.0
"""The console: what an operator sees of a running proxy, on the admin listener. It reads, and changes nothing."""
