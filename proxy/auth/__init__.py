# SPDX-License-Identifier: Apache-2.0
"""Authorization: who asks (tokens, keys, revocations), and what the policies let them ask."""
