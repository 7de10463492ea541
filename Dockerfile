# The lab's one image: members, load, agent and operator. Builds with the classic builder and with BuildKit.
#   make kind-up     builds it and puts it into the cluster
#   docker build -t faultlab/faultlab:VERSION --build-arg VERSION=VERSION .
ARG BASE=python:3.11-slim-bookworm

# What the lab depends on, under /dependencies as it will lie in the image: a layer that changes with the lock alone.
FROM ${BASE} AS dependencies
# One moment for every file's time, so that the same sources give the same layers (2024-01-01 00:00 UTC).
ARG SOURCE_DATE_EPOCH=1704067200
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PYTHONHASHSEED=0
WORKDIR /build
COPY requirements.lock ./
# The environment has no pip of its own; the base's pip fills it from outside. Wheels only: there is no compiler
# here, and a source archive would bring build tools that no lock holds. Byte code is never checked against its
# source: the root is read-only at run time, and starts are fast. gevent's tests and sources in C are not needed.
RUN python3 -m venv --without-pip /opt/faultlab \
 && python3 -m pip --python /opt/faultlab/bin/python install --only-binary :all: --require-hashes --no-compile \
      -r requirements.lock \
 && rm -r /opt/faultlab/lib/python3.11/site-packages/gevent/tests \
 && find /opt/faultlab/lib/ -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete \
 && /opt/faultlab/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/faultlab/lib/ \
 && mkdir -p /dependencies/opt \
 && mv /opt/faultlab /dependencies/opt/ \
 && ln -s /dependencies/opt/faultlab /opt/faultlab \
 && find /dependencies -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

# The lab itself, likewise under /project.
FROM dependencies AS project
ARG SOURCE_DATE_EPOCH=1704067200
COPY requirements-build.lock ./
RUN python3 -m venv /build/backend \
 && /build/backend/bin/pip install --only-binary :all: --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY chaos chaos/
COPY workloads workloads/
COPY operator operator/
# Command line and embedded world stay outside (.dockerignore), and so does the command that would need them.
RUN /build/backend/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /build/wheels . \
 && python3 -m pip --python /opt/faultlab/bin/python install --no-deps --no-index --no-compile \
      --prefix /project/opt/faultlab /build/wheels/faultlab-*.whl \
 && rm /project/opt/faultlab/bin/faultlab \
 && /opt/faultlab/bin/python -m compileall -q -s /project --invalidation-mode unchecked-hash /project \
 && find /project -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE}
COPY --from=dependencies /dependencies/ /
COPY --from=project /project/ /
ENV PATH=/opt/faultlab/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=faultlab \
    HOME=/tmp
# Numeric, so that Kubernetes can tell by itself that it is not root (runAsNonRoot). Nothing in /etc/passwd has that
# number, or another one that a cluster chooses: whoever asks for a name or a home (kopf does) finds them above.
USER 65532:65532
WORKDIR /tmp
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="faultlab" \
      org.opencontainers.image.description="A chaos lab for distributed systems on Kubernetes: members, load, agent and operator" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
CMD ["faultlab-operator", "--help"]
