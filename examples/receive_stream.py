"""Take resends from the stream: read with a consumer group, act once for each id, then acknowledge.

python receive_stream.py [NAME]         NAME: one a process, default receiver-1
"""

import json
import os
import sys

import redis

from softbounce import TryAgain, handle_once

STREAM, GROUP = "softbounce:resend", "pipeline"


def send_again(command: dict) -> None:
    """Look whether it is still wanted, render, send, report what became of it. Here it only prints."""
    print("resend", command["reference"], "try", command["attempt"], flush=True)


def main(name: str) -> None:
    """Receive until somebody ends us."""
    store = redis.Redis.from_url(
        os.environ["SOFTBOUNCE_REDIS_URL"], socket_timeout=20, decode_responses=True, protocol=2
    )
    try:
        store.xgroup_create(STREAM, GROUP, id="0", mkstream=True)  # from 0: what left before we came counts
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    while True:
        # what another receiver read a minute ago and never acknowledged, then what is new
        entries = store.xautoclaim(STREAM, GROUP, name, min_idle_time=60_000, count=10)[1]
        for _, found in store.xreadgroup(GROUP, name, {STREAM: ">"}, count=10, block=5000) or []:
            entries += found
        for entry, fields in entries:
            try:
                handle_once(json.loads(fields["command"]), send_again)
            except TryAgain as error:
                print("later:", error, file=sys.stderr)  # not acknowledged: it comes again
            else:
                store.xack(STREAM, GROUP, entry)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "receiver-1")
