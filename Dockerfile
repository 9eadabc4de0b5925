# Two stages: the first builds a virtual environment, the second holds only that, the code's policies and a user.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY proxy ./proxy
COPY policies ./policies
RUN python -m venv /opt/shape-proxy \
 && /opt/shape-proxy/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[postgres]'

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin shape-proxy
COPY --from=build /opt/shape-proxy /opt/shape-proxy
COPY policies /etc/shape-proxy/policies
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
