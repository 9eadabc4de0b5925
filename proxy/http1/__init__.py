# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on sockets, both sides: connections that parse with llhttp and push what they read to a listener. Knows
nothing of shapes, tokens or Electric."""
