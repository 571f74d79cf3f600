# jq in two stages: BUILDER obtains it and collects its files, PRODUCTION holds nothing else.
# SLEEPTIME (seconds) makes each step as slow as a real one would be.

FROM debian:bookworm-slim AS BUILDER
ARG SLEEPTIME=0
RUN apt-get update && apt-get install --yes --no-install-recommends jq && rm -rf /var/lib/apt/lists/*
RUN sleep "$SLEEPTIME"
# The binary and exactly the libraries the loader asks for, under the paths it looks for them.
RUN mkdir -p /collected/usr/bin \
 && cp /usr/bin/jq /collected/usr/bin/jq \
 && ldd /usr/bin/jq | grep -o '/[^ ]*' | while read -r library; do cp -L --parents "$library" /collected; done
RUN sleep "$SLEEPTIME"
COPY data /collected/data
RUN sleep "$SLEEPTIME"

FROM scratch AS PRODUCTION
COPY --from=BUILDER /collected /
ENTRYPOINT ["/usr/bin/jq"]
CMD ["--version"]
