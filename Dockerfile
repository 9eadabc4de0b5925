# Two stages: the first builds a virtual environment from locked packages, the second holds only that and a user.
# The image has no policies at PROXY_POLICIES (the demo has its own, in the package); mount yours there.
# For reproducible images give a digest: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
# Nothing is installed in the environment later, so that it needs no pip of its own.
RUN python -m venv --without-pip /opt/shape-proxy \
 && pip --python /opt/shape-proxy install --no-cache-dir --disable-pip-version-check --require-hashes \
      -r requirements.txt -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
COPY policies ./policies
RUN pip --python /opt/shape-proxy install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && pip --python /opt/shape-proxy uninstall --yes --quiet -r requirements-build.txt

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="shape-proxy" \
      org.opencontainers.image.description="The authorizing reverse proxy for Electric shapes" \
      org.opencontainers.image.licenses="Apache-2.0"
# The group has the user's number too: what is mounted for the proxy alone can be given to 10001:10001.
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --shell /usr/sbin/nologin shape-proxy
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
