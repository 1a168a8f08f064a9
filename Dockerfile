FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock .
# every wheel by its hash; the next step then takes what it needs from these files alone
RUN pip wheel --no-cache-dir --require-hashes -r requirements.lock -w /wheels
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY config config
RUN pip wheel --no-cache-dir --no-deps -w /wheels . \
 && python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-index --find-links /wheels softbounce

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home softbounce
COPY --from=build /venv /venv
COPY config /app/config
COPY examples /app/examples
WORKDIR /app
USER softbounce
# a container's SIGTERM starts Celery's soft shutdown: what runs may finish, what waits goes back
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 REMAP_SIGTERM=SIGQUIT
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["softbounce", "doctor", "--ready"]
CMD ["softbounce", "worker"]
