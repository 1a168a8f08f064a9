"""The Celery lane on a Redis broker, judged as everything else: ours must lose nothing, the stock one must."""

from .celery_lane import run
from .history import History
from .scenarios import Bench, scenario


@scenario("Celery on Redis, our transport: kills and cuts", times=115)
def celery_on_redis(bench: Bench) -> None:
    """A message is recorded as taken in the same step that takes it."""
    lane(
        bench.history,
        run(bench.rng.randrange(1000), kills=bench.times(100), cuts=bench.times(15), safe=True, seconds=60),
    )


def lane(history: History, outcome: dict) -> None:
    """Write down what a run of the lane was told and did, in the words of the checker."""
    for number in outcome["sent"]:
        history.add("fate", ref=f"t{number}", to="", sends=1, ends="ran", code="")
        history.add("ask", n=number, ref=f"t{number}")
        history.add("told", n=number)
    for number in outcome["done"]:
        history.add("got", id=f"t{number}", ref=f"t{number}", attempt=1, to=[], due=None)
    for _ in range(outcome["kills"] + outcome["cuts"]):
        history.add("fault", what="kill -9 or cut")
    history.add("left", schedule=0, ready=0, notices=0, unread=outcome["left"], pending=0, keys=[])
