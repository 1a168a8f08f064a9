"""Report failures by Celery: one event, or a list of them, as the task's only argument.

python report_celery.py event.json
"""

import json
import os
import sys
from pathlib import Path

from celery import Celery

app = Celery(broker=os.environ["SOFTBOUNCE_BROKER_URL"])
if "amqp" in app.conf.broker_url:
    app.conf.broker_transport_options = {"confirm_publish": True}  # an error here, instead of a loss there
event = json.loads(Path(sys.argv[1]).read_bytes())
# argsrepr: Celery copies the arguments into a header that monitors show; addresses do not belong there
app.send_task("softbounce.report", args=[event], queue="softbounce", argsrepr="()", ignore_result=True)
