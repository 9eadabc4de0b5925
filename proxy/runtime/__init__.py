# SPDX-License-Identifier: Apache-2.0
"""The running process: how its parts are put together, listen, reload and stop."""
