FROM scratch AS hello
LABEL org.opencontainers.image.title=hello system-stats.image=true
USER 65532:65532
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["/hello", "healthcheck"]
ENTRYPOINT ["/hello"]
COPY --from=build-hello /src/target/binaries/hello /hello
