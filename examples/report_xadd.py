"""Report a failure without our package: one entry of the stream, in any language that speaks to Redis.

python report_xadd.py event.json        the same in a shell:
redis-cli XADD softbounce:events '*' event "$(cat event.json)"
"""

import os
import sys
from pathlib import Path

import redis

store = redis.Redis.from_url(os.environ["SOFTBOUNCE_REDIS_URL"])
# one event an entry, in the field "event"; no MAXLEN: it would drop events that nobody has read
entry = store.xadd("softbounce:events", {"event": Path(sys.argv[1]).read_bytes()})
sys.stdout.write(entry.decode() + "\n")
