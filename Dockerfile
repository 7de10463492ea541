# The lab's one image: members, load, agent and operator. Builds with the classic builder and with BuildKit.
#   make kind-up          builds it and puts it into the cluster
#   docker build -t faultlab/faultlab:VERSION --build-arg VERSION=VERSION .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# One moment for every file's time, so that the same sources give the same layers (2024-01-01 00:00 UTC).
ARG SOURCE_DATE_EPOCH=1704067200
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PYTHONHASHSEED=0
WORKDIR /build

# The environment that ships has no pip of its own; the base's pip fills it from outside.
RUN python3 -m venv --without-pip /opt/faultlab \
 && python3 -m venv /build/backend
COPY requirements.lock requirements-build.lock ./
# Wheels only: there is no compiler here, and a source archive would bring its own unlocked build tools.
RUN python3 -m pip --python /opt/faultlab/bin/python install --only-binary :all: --require-hashes --no-compile -r requirements.lock \
 && /build/backend/bin/pip install --only-binary :all: --require-hashes -r requirements-build.lock \
 && find /opt/faultlab -depth -type d \( -name tests -o -name testing \) -path '*/gevent/*' -exec rm -r {} + \
 && find /opt/faultlab -type f \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' \) -path '*/site-packages/*' -delete

COPY pyproject.toml README.md LICENSE ./
COPY chaos chaos/
COPY workloads workloads/
COPY operator operator/
# Command line and embedded world stay outside (.dockerignore), and so does the command that would need them.
# Byte code that is never checked against its source: the root is read-only at run time, and starts are fast.
RUN /build/backend/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /build/wheels . \
 && python3 -m pip --python /opt/faultlab/bin/python install --no-deps --no-index --no-compile /build/wheels/faultlab-*.whl \
 && rm /opt/faultlab/bin/faultlab \
 && /opt/faultlab/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/faultlab/lib \
 && find /opt/faultlab -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE}
COPY --from=builder /opt/faultlab /opt/faultlab
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
