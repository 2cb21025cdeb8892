# Florilegium in a container, for a processor or for NVIDIA's GPUs:
#
#   docker build --tag florilegium .
#   docker build --tag florilegium:cuda --build-arg BACKEND=cu128 .
#
# BACKEND says which build of PyTorch: cpu, or the CUDA that the machines' driver has (cu126, cu128, …). The CUDA build
# brings CUDA's libraries along; a machine needs the driver and NVIDIA's container toolkit alone.

FROM python:3.11-slim AS wheel
RUN pip install --no-cache-dir uv
COPY . /source
RUN uv build --wheel --out-dir /wheels /source

FROM python:3.11-slim
ARG BACKEND=cpu
# KubeRay asks whether a node lives by wget; `ray[default]` answers whoever submits a job
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend "$BACKEND" \
        "$(ls /wheels/*.whl)[ray,remote]" "ray[default]" \
    && pip uninstall --yes uv \
    && rm -rf /wheels
COPY deploy/run.sh deploy/bring_back.py /opt/florilegium/
RUN useradd --create-home --uid 1000 florilegium && mkdir /data && chown florilegium /data
USER florilegium
WORKDIR /data
ENTRYPOINT ["florilegium"]
CMD ["--help"]
