FROM dependencies AS build-hello
COPY crates crates
COPY services/hello services/hello
ARG BUILT_FROM
RUN python3 -m tools.build.build binary hello
