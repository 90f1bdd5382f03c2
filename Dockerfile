# One image for the server and for the workers; the command says which.
FROM python:3.11-slim

RUN useradd --create-home gradwire
WORKDIR /home/gradwire/app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY common common
COPY server server
COPY worker worker
COPY cli cli
# --build-arg EXTRA_INDEX=... takes torch from another index: one with CPU builds makes the image several GB smaller
ARG EXTRA_INDEX=""
RUN pip install --no-cache-dir ${EXTRA_INDEX:+--extra-index-url "$EXTRA_INDEX"} -c constraints.txt .

USER gradwire
WORKDIR /home/gradwire
# compiled when the image is made, so that no start waits for it
ENV NUMBA_CACHE_DIR=/home/gradwire/.numba
RUN mkdir runs && python -c "from gradwire_common.warming import warm_kernels; warm_kernels()"

EXPOSE 50051
# the server's; workers have one of their own in docker-compose.yml. Where the server has certificates, HEALTH_CERTS is the
# kit of who asks for its health
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "GRADWIRE_CERTS=$HEALTH_CERTS exec gradwire status 127.0.0.1:50051"]

ENTRYPOINT ["gradwire"]
# refused without GRADWIRE_CERTS, or GRADWIRE_INSECURE=true where the network of the container is trusted
CMD ["server", "--listen", "0.0.0.0:50051"]
