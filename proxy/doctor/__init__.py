# SPDX-License-Identifier: Apache-2.0
"""`shape-proxy doctor`: looks at what the proxy stands between, and says what is wrong and what to do about it.

Each module is a group of checks. A check gives findings; none of them changes anything, and no finding holds a secret.
"""
