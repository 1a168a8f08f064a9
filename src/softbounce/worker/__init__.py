"""The worker: takes reports in and hands due retries over. The only room that imports Celery."""
