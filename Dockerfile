FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
# Collecting static files reads settings, which want values; none of these reaches the image.
RUN DEMO=1 SECRET_KEY=x IDENTITY_KEY=x JWT_SIGNING_KEY=x API_KEY_HASH_KEY=x DATABASE_URL=postgresql://x \
    python manage.py collectstatic --no-input \
    && useradd --system creditsite && chown -R creditsite var
USER creditsite
EXPOSE 8000
CMD ["gunicorn", "creditsite.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "4", "--no-control-socket"]
