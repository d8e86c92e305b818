# The hub and Airflow in one image: every service of docker-compose.yml but PostgreSQL runs it.
#   docker build -t comptoir:0.1.0 .
# Packages come from requirements/dev.lock, each download checked against its hash, by whatever index pip is set up
# for (build arguments such as PIP_INDEX_URL are not written into the image).

FROM python:3.11-slim AS build

ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
WORKDIR /src
# Without pip of their own: the image's pip fills them from outside, and nothing that installs is left in them.
RUN python -m venv --without-pip /opt/comptoir && python -m venv --without-pip /opt/build

# First what changes seldom: an edit of the sources does not download Airflow again.
COPY pyproject.toml ./
COPY requirements/dev.lock requirements/
COPY deploy/locked.py deploy/
# Wheels only: no compiler is needed, and no package's own code runs while it is installed.
RUN python deploy/locked.py runtime > /tmp/runtime.lock \
    && python -m pip --python /opt/comptoir/bin/python install --disable-pip-version-check --no-cache-dir \
        --no-compile --no-deps --only-binary :all: --require-hashes -r /tmp/runtime.lock
RUN python deploy/locked.py build > /tmp/build.lock \
    && python -m pip --python /opt/build/bin/python install --disable-pip-version-check --no-cache-dir \
        --no-compile --no-deps --only-binary :all: --require-hashes -r /tmp/build.lock

COPY LICENSE NOTICE README.md ./
COPY core core
COPY connectors connectors
COPY mappings mappings
RUN /opt/build/bin/python -m hatchling build -t wheel -d /tmp/wheel \
    && python -m pip --python /opt/comptoir/bin/python install --disable-pip-version-check --no-cache-dir \
        --no-compile --no-deps --no-index /tmp/wheel/*.whl

# Bytecode, because the file system is read-only later and Airflow starts a process per task. By content, never
# compared with dates: those change when layers are copied. Some packages carry templates that do not compile and
# need not; all of ours must.
RUN /opt/comptoir/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash \
        /opt/comptoir/lib/python3.11/site-packages || echo "not everything compiles"; \
    /opt/comptoir/bin/python -m compileall -qq --invalidation-mode unchecked-hash \
        /opt/comptoir/lib/python3.11/site-packages/comptoir \
        /opt/comptoir/lib/python3.11/site-packages/comptoir_*/

# DAGs and the two commands that only a container needs.
COPY dags/comptoir_routes.py /opt/comptoir/dags/
COPY deploy/health.py /opt/comptoir/bin/comptoir-health
COPY deploy/airflow_init.py /opt/comptoir/bin/comptoir-airflow-init


FROM python:3.11-slim

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Comptoir" \
      org.opencontainers.image.description="Integration hub for merchants: connectors, engine, Airflow, webhook gateway" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Comptoir authors"

# The number is fixed: folders of the host that the hub writes to belong to it. What installs packages is removed.
# Folders that volumes are mounted on exist beforehand, so that the volumes belong to the account.
# An airflow.cfg stands there because each program would write one with the defaults.
RUN groupadd --system --gid 10001 comptoir \
    && useradd --system --uid 10001 --gid 10001 --home-dir /srv/comptoir --shell /usr/sbin/nologin comptoir \
    && python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
    && rm -rf /usr/local/lib/python3.11/ensurepip \
    && install -d -o comptoir -g comptoir -m 0750 /srv/comptoir \
    && install -d -o comptoir -g comptoir -m 0700 /var/lib/airflow/logs /var/lib/airflow/login \
    && echo '# Everything that differs from the defaults is set in the environment.' > /var/lib/airflow/airflow.cfg

COPY --from=build /opt/comptoir /opt/comptoir

ENV PATH=/opt/comptoir/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/airflow \
    COMPTOIR_CONFIG=/srv/comptoir/comptoir.toml

USER 10001:10001
WORKDIR /srv/comptoir
EXPOSE 8080 8090
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["comptoir-health", "http://127.0.0.1:8090/health"]
CMD ["comptoir", "gateway", "--host", "0.0.0.0", "--port", "8090"]
