# One image for every part of a self-hosted installation: gateway, workers, migrations and the command line.
# docker-compose.yml says which part a container is. The base is named by its tag; pin the digest that you have checked:
#   docker compose build --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim

# What is needed to put the image together stays here.
FROM ${PYTHON_IMAGE} AS builder
# An index or a proxy of your own, if there is one: --build-arg UV_DEFAULT_INDEX=... PIP_INDEX_URL=...
ARG UV_DEFAULT_INDEX
ARG PIP_INDEX_URL
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY requirements/bootstrap.txt requirements/hosting.txt /tmp/
RUN pip install --quiet --no-cache-dir --root-user-action ignore --disable-pip-version-check --require-hashes -r /tmp/bootstrap.txt \
 && uv venv --quiet --no-cache --python python3.12 /opt/scheduler \
 && uv pip install --quiet --no-cache --python /opt/scheduler/bin/python --only-binary :all: --require-hashes -r /tmp/hosting.txt
COPY template.yaml .env.example /app/
COPY migrations /app/migrations
COPY layers/scheduler_core/scheduler_core /app/layers/scheduler_core/scheduler_core
COPY functions /app/functions
COPY hosting /app/hosting
COPY cli /app/cli
# The code lies as it does in a checkout and is never written to again: bytecode that nobody has to compare with it.
RUN printf '%s\n' /app /app/functions /app/layers/scheduler_core >/opt/scheduler/lib/python3.12/site-packages/app.pth \
 && printf '%s\n' '#!/opt/scheduler/bin/python' 'from cli.main import app' 'app()' >/opt/scheduler/bin/scheduler \
 && chmod 755 /opt/scheduler/bin/scheduler \
 && find /app -name __pycache__ -prune -exec rm -rf {} + \
 && python3.12 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app /opt/scheduler/lib \
 && chmod -R a=rX,u+w /app

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 scheduler \
 && useradd --system --no-create-home --home-dir /nonexistent --uid 10001 --gid scheduler --shell /usr/sbin/nologin scheduler
COPY --from=builder /opt/scheduler /opt/scheduler
COPY --from=builder /app /app
ENV PATH=/opt/scheduler/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
EXPOSE 3000
CMD ["python", "-m", "hosting", "gateway"]
