# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Kernels of 64-bit ARM have pages of 4, 16 or 64 kB, and an allocator that was built for small ones does not start on larger.
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --locked -p wharfinger \
    && cp target/release/wharfinger /usr/local/bin/wharfinger

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/wharfinger --create-home wharfinger
COPY --from=build /usr/local/bin/wharfinger /usr/local/bin/wharfinger
# A worker needs the engine's socket, which belongs to a group of the host: run it with
#   -v /var/run/docker.sock:/var/run/docker.sock --group-add "$(stat -c %g /var/run/docker.sock)"
USER wharfinger
ENV WHARFINGER_LISTEN=0.0.0.0:8080 \
    WHARFINGER_DATA_DIR=/var/lib/wharfinger
VOLUME /var/lib/wharfinger
# The gateway's. A worker reports on 127.0.0.1:8082 (WHARFINGER_WORKER__LISTEN).
EXPOSE 8080
ENTRYPOINT ["wharfinger"]
CMD ["serve"]
