# tunegate for processors: recorded answers, servers, and local models on a CPU (docs/guides/docker.md).
FROM python:3.12-slim

ARG EXTRAS=hf,server
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir --constraint dev-constraints.txt ".[${EXTRAS}]"

RUN useradd --create-home --uid 1000 tunegate && install --directory --owner 1000 /project
USER 1000
WORKDIR /project
HEALTHCHECK CMD ["tunegate", "--version"]

# The quickstart.
CMD ["sh", "-c", "tunegate init support_json --ci github && tunegate gate suites --run-dir .tunegate/runs/first"]
