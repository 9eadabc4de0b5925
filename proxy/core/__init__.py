# SPDX-License-Identifier: Apache-2.0
"""The pure core: no await, clock, file, environment, logging or network. The same arguments give the same answer."""
