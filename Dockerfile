# The app and the worker: one image, two commands. deploy/pin-images names the base image by its digest.
ARG PYTHON_IMAGE=python:3.13.9-slim-trixie
FROM ${PYTHON_IMAGE} AS packages
COPY requirements.txt /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements.txt

FROM ${PYTHON_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10086 --home-dir /var/lib/xunling --create-home xunling \
    && install -d -o xunling -g xunling -m 700 /var/lib/xunling/tmp /backup
COPY --from=packages /venv /venv
COPY contracts /app/contracts
COPY sync /app/sync
COPY storage /app/storage
COPY api /app/api
COPY phone /app/phone
COPY server /app/server
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER xunling
VOLUME /var/lib/xunling
EXPOSE 8686
CMD ["python", "-m", "server", "serve"]
HEALTHCHECK CMD ["python", "-m", "server", "check"]
