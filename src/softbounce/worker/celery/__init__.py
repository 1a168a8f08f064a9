"""All that depends on Celery: the app, its bootsteps, and what is read from its queues."""
