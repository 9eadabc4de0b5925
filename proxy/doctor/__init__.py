# SPDX-License-Identifier: Apache-2.0
"""`shape-proxy doctor`: examines everything around the proxy, and reports what is wrong and what to do about it.

Each module is a group of checks. A check gives findings; none of them changes anything, and no finding holds a secret.
"""
