# SPDX-License-Identifier: Apache-2.0
"""Electric: requests to it, what its answers mean, and the shapes that the proxy follows itself."""
