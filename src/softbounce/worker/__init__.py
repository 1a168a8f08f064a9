"""The only room that knows Celery: reports in, due retries out, around one store."""
