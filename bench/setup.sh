#!/bin/sh
# What the comparisons run beside the proxy, from Debian's own packages (Node may also come from elsewhere).
# Whatever cannot be installed is skipped, here and by the scenarios, which say so in their results.
set -u
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
for package in wrk nginx-light haproxy varnish caddy nodejs; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "skipped: $package"
done
for service in nginx haproxy varnish caddy; do
    systemctl disable --now "$service" >/dev/null 2>&1 || true # the comparisons start their own
done
