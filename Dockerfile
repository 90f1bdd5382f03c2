# One image for the server and for the workers; the command says which. Layers from what changes least to what changes most.
FROM python:3.11-slim AS requirements
COPY pyproject.toml .
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt

FROM python:3.11-slim
# The index that torch's build comes from: its own, of builds for processors. --build-arg EXTRA_INDEX= takes that of PyPI, for GPUs
# and several GB larger
ARG EXTRA_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /home/gradwire/app
COPY --from=requirements requirements.txt .
COPY constraints.txt .
RUN pip install --no-cache-dir ${EXTRA_INDEX:+--extra-index-url "$EXTRA_INDEX"} -c constraints.txt hatchling editables -r requirements.txt

# Kernels are compiled when the image is made, so that no start waits for it; another kind of processor compiles them again.
ENV NUMBA_CACHE_DIR=/home/gradwire/.numba MPLCONFIGDIR=/home/gradwire/.matplotlib
COPY common common
RUN python -c "import matplotlib.font_manager" && \
    PYTHONPATH=common python -c "from gradwire_common.warming import warm_kernels; warm_kernels()"

COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY worker worker
COPY study study
COPY cli cli
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .
COPY deploy/compose/role.sh /usr/local/bin/gradwire-role

RUN useradd --uid 1000 gradwire && install -d -o gradwire ../runs ../state ../certs ../authority && chown -R gradwire ..
USER gradwire
WORKDIR /home/gradwire

EXPOSE 50051
ENTRYPOINT ["gradwire"]
# refused without GRADWIRE_CERTS, or GRADWIRE_INSECURE=true where the network of the container is trusted
CMD ["server", "--listen", "0.0.0.0:50051", "--resume"]
