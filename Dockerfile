# The three images from source: `docker compose up --build`, or `docker build --target stats .`.
# It needs a network and no tools on the host. Both the classic builder and BuildKit accept it, so
# compiled dependencies are kept in layers of their own instead of in cache mounts.
#
# The final stages are the only description of the images' configuration. `make images` and the
# releases (tools/build/dockerfile.py) pack finished binaries with the same instructions.

# The official image for the version in rust-toolchain.toml, pinned by the digest of its
# multi-platform index. For a mirror: --build-arg RUST_IMAGE=registry.example.com/rust:1.95.0-bookworm
ARG RUST_IMAGE=rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

# Compilers run on the builder's own processor and cross-compile. The classic builder does not set
# BUILDPLATFORM; `linux` alone means its own processor.
FROM --platform=${BUILDPLATFORM:-linux} ${RUST_IMAGE} AS tools
# `make clean` finds the stages of the classic builder by this label.
LABEL system-stats.image=true
WORKDIR /src
COPY rust-toolchain.toml Cargo.lock pyproject.toml uv.lock ./
# The installer (tools/build/tests/test_dockerfile.py compares the lists), and no other script: this layer
# takes minutes.
COPY tools/__init__.py tools/
COPY tools/common tools/common
COPY tools/install/*.py tools/install/
RUN python3 -m tools.install build

# The workspace with empty crates: it changes only when a dependency does.
FROM tools AS skeleton
COPY . .
RUN python3 -m tools.build.skeleton /skeleton

FROM tools AS dependencies
COPY --from=skeleton /skeleton/ ./
COPY services.json ./
COPY tools/no-unwind.ld tools/
COPY tools/build/__init__.py tools/build/build.py tools/build/commit.py tools/build/dockerfile.py \
    tools/build/shrink.py tools/build/
COPY tools/supply/__init__.py tools/supply/oci.py tools/supply/
# BuildKit sets TARGETARCH for --platform; empty means the builder's processor.
ARG TARGETARCH
ENV ARCHITECTURE=${TARGETARCH}
RUN python3 -m tools.build.build dependencies

# Each service is built by itself, so that an edit rebuilds one of them. BUILT_FROM is the commit and
# its date, such as "0123... 2026-11-28T10:00:00Z", which the binary reports in /healthz.
FROM dependencies AS build-stats
COPY crates crates
COPY services/stats services/stats
ARG BUILT_FROM
RUN python3 -m tools.build.build binary stats

FROM dependencies AS build-frontend
COPY crates crates
COPY services/frontend services/frontend
ARG BUILT_FROM
RUN python3 -m tools.build.build binary frontend

FROM dependencies AS build-gateway
COPY crates crates
COPY services/gateway services/gateway
ARG BUILT_FROM
RUN python3 -m tools.build.build binary gateway

# `make new` adds build stages above this line.

# In the images, metadata comes first: a new binary then changes one step.
FROM scratch AS stats
LABEL org.opencontainers.image.title=stats system-stats.image=true
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["/stats", "healthcheck"]
ENTRYPOINT ["/stats"]
COPY --from=build-stats /src/target/binaries/stats /stats

FROM scratch AS frontend
LABEL org.opencontainers.image.title=frontend system-stats.image=true
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["/frontend", "healthcheck"]
ENTRYPOINT ["/frontend"]
COPY --from=build-frontend /src/target/binaries/frontend /frontend

# `make new` adds images above this line.

FROM scratch AS gateway
LABEL org.opencontainers.image.title=gateway system-stats.image=true
USER 65532:65532
EXPOSE 3050
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]
COPY --from=build-gateway /src/target/binaries/gateway /gateway
