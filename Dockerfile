# onset with training and scoring on processors: docker build -t onset . && docker run --rm -v "$PWD/out:/out" onset
# The page while it runs: docker run --rm -p 127.0.0.1:8717:8717 -v "$PWD/out:/out" onset serve /out/demo --host 0.0.0.0 --public
FROM python:3.12-slim

# The trainer's code for processors is compiled where it runs; without a compiler PyTorch alone is used.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /onset
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt '.[lm]'

RUN useradd --create-home onset && mkdir /out && chown onset /out
USER onset
VOLUME /out
EXPOSE 8717
ENTRYPOINT ["onset"]
CMD ["demo", "--out", "/out/demo"]
