# SPDX-License-Identifier: Apache-2.0
"""The proxy for any ASGI server (`uvicorn proxy.gateway.asgi:app`), or mounted in an ASGI application.

`app` serves shapes. Its lifespan composes the proxy by the environment's settings; an application that mounts it must
run `app.lifespan` in its own. `admin` is /live, /ready and /metrics: to be mounted where clients cannot reach it.
An entry point, like the command line: nothing in the package imports it.
"""

from proxy.gateway.asgi_application import Admin, Cut, Gateway
from proxy.runtime.embedded import embedded

__all__ = ["Cut", "admin", "app"]

app = Gateway(embedded)
admin = Admin(app)
