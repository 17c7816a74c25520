# Purser with Nix: `docker build --tag purser .`, and for the tests `docker build --target test --tag purser-test .`
# README.md, "In a container", says how to run it; scripts/compose.yaml does so.

# Debian 12: its Nix 2.8 and Python 3.11 are the ones Purser is tried with, and both are Debian's own packages.
FROM docker.io/library/debian:bookworm-slim AS base

# No versions: Debian's mirrors keep only the newest fix of a package, so a pinned one soon cannot be installed.
# curl is for the health check and comes with nix-bin anyway; ca-certificates are for Nix's downloads; tini as process 1
# buries what a stopped build leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates curl nix-bin python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# One user owns the store and does every build: no build users to change to, and no sandbox, which would need privileges
# that a container does not have. The store is made here: Nix 2.8 that is stopped while it makes one leaves it broken.
RUN useradd --no-log-init --uid 10001 --user-group --home-dir /app/data/home --shell /usr/sbin/nologin purser \
    && install --directory --owner=purser --group=purser /app/data /nix \
    && install --directory /etc/nix \
    && printf 'build-users-group =\nsandbox = false\n' >/etc/nix/nix.conf \
    && nix-store --init \
    && chown --recursive purser:purser /nix

ENV PATH=/opt/purser/bin:$PATH \
    LANG=C.UTF-8 \
    DATA_DIR=/app/data \
    HOST=0.0.0.0 \
    PORT=8000
EXPOSE 8000
ENTRYPOINT ["tini", "--"]


FROM base AS build

# No version, as above.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/pip
WORKDIR /src
COPY pyproject.toml README.md ./
COPY app app
COPY sql sql
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

# `--build-arg EXTRAS=` for machines that uvloop and httptools have no wheels for: there is no compiler here.
ARG EXTRAS=[speed]
RUN python3 -m venv --without-pip /opt/purser \
    && set -- /dist/*.whl \
    && /opt/pip/bin/pip --python /opt/purser/bin/python install --no-cache-dir "$1$EXTRAS"


FROM build AS test

RUN set -- /dist/*.whl \
    && /opt/pip/bin/pip --python /opt/purser/bin/python install --no-cache-dir pip "$1[test]"
WORKDIR /app
COPY --chown=10001:10001 . .
RUN chown 10001:10001 /app
USER 10001:10001
CMD ["python", "-m", "pytest", "-m", "not slow"]


# What a build without --target makes.
FROM base AS run

LABEL org.opencontainers.image.title="Purser" \
      org.opencontainers.image.description="The control plane inside a small appliance" \
      org.opencontainers.image.version="0.1.0"

COPY --from=build /opt/purser /opt/purser
COPY scripts/demo.nix /app/scripts/demo.nix
WORKDIR /app
USER 10001:10001

# No VOLUME: it would hide what an image made from this one puts into /nix, and its volumes without a name are soon
# lost. Both /app/data and /nix are to be mounted, from volumes with names; they belong together.

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["sh", "-c", "curl --silent --show-error --fail --noproxy '*' \"http://127.0.0.1:$PORT/health\""]
CMD ["pkgctl", "serve"]
