# Two stages: the first builds a virtual environment from locked packages, the second holds only that and a user.
# The policies of the image are the demo's; mount your own at PROXY_POLICIES.
# For reproducible images give a digest: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/shape-proxy \
 && /opt/shape-proxy/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
      -r requirements.txt -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
COPY policies ./policies
RUN /opt/shape-proxy/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && /opt/shape-proxy/bin/pip uninstall --yes --quiet -r requirements-build.txt

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="shape-proxy" \
      org.opencontainers.image.description="The authorizing reverse proxy for Electric shapes" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin shape-proxy
COPY --from=build /opt/shape-proxy /opt/shape-proxy
ENV PATH=/opt/shape-proxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PROXY_LISTEN=0.0.0.0:8080 \
    PROXY_ADMIN_LISTEN=0.0.0.0:9090 \
    PROXY_POLICIES=/etc/shape-proxy/policies
USER 10001
EXPOSE 8080 9090
# Nothing is written to disk: run it with a read-only root file system.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["shape-proxy"]
CMD ["serve"]
