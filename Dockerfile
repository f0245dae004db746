# The CPU programs in a small image:   docker build -t regrad . && docker run --rm -v "$PWD:/work" -w /work regrad train_gpt --help
FROM debian:12 AS build
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates
COPY . /src
WORKDIR /src
RUN scripts/deps build && make -j"$(nproc)" CUDA=none MPI=no ARCH=x86-64-v3 && make install CUDA=none MPI=no ARCH=x86-64-v3 DESTDIR=/out PREFIX=/usr

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        libgomp1 libcjson1 libpcre2-8-0 libutf8proc2 libzstd1 zlib1g libjpeg62-turbo libpng16-16 libwebp7 libwebpdemux2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out /
CMD ["train_gpt", "--help"]
