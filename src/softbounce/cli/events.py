"""``softbounce events``: report failures and deliveries by hand or from a file."""

import secrets
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.input_files import binary_file, event_id, read_reports
from softbounce.cli.shared.output import Json, Output, Row, duration, moment, say, show, time_of, zoned
from softbounce.cli.shared.session import fail_in_part, opened, tracked
from softbounce.core.durations import SECOND, words
from softbounce.store import Store
from softbounce.store.limits import REPORT_BATCH

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Report failures and deliveries.")
app.callback()(lambda: None)  # so that its only command is called by name


@app.command()
def report(
    file: Annotated[
        str, typer.Argument(metavar="FILE | -", help="NDJSON, one JSON object, or an array of them")
    ],
    *,
    wait: Annotated[
        int | None, typer.Option(parser=duration, metavar="TIME", help="Wait so long for the outcomes: 20s")
    ] = None,
    output: options.Output = Output.TABLE,
) -> None:
    """Report events, unchanged; repeating it is harmless. What cannot be read becomes a dead letter.

    With --wait: the outcome of each, in their order; exit code 5 if some were not decided in time.
    """
    with opened() as store, binary_file(file) as source:
        token = secrets.token_hex(8) if wait is not None else None
        answers = _Answers(store, token) if token else None
        sent = list(_publish(read_reports(source), store, answers))
        if answers is None or wait is None:
            say(f"{len(sent):,} reported to {store.events.key}; a worker decides. To see how: --wait 20s")
            if output is not Output.TABLE:
                show((), ((facts, ()) for facts in sent), output)
            return
        missing: list[Json] = []
        now = store.now()
        head = ("OUTCOME", zoned("NEXT TRY"), "TRY", "CASE", "REFERENCE", "BECAUSE")
        show(head, (_answer_row(reply, now) for reply in _outcomes(sent, answers, wait, missing)), output)
        if missing:
            say(f"Not decided within {words(wait)}, but safe in {store.events.key}. Why? softbounce doctor")
        fail_in_part(missing, of=len(sent))


class _Answers:
    """The outcomes that workers have sent so far, by entry."""

    def __init__(self, store: Store, token: str) -> None:
        self.token = token
        self.known: dict[str, Json] = {}
        self._events = store.events

    def take(self, *, count: int, seconds: float = 0.0) -> None:
        """Take at most ``count`` outcomes; wait ``seconds`` where there is none."""
        for answer in self._events.wait_replies(self.token, count=count, seconds=seconds):
            self.known[answer.pop("entry")] = answer


def _publish(events: Iterator[bytes], store: Store, answers: _Answers | None) -> Iterator[Json]:
    """Report blocks of events, and take the answers meanwhile, of which the store keeps 10,000."""
    token = answers.token if answers else None
    source = iter(tracked(events, "reporting"))
    while block := list(islice(source, REPORT_BATCH)):
        for raw, entry in zip(block, store.events.publish(block, reply=token), strict=True):
            yield {"eventId": event_id(raw), "entryId": entry}
        if answers:
            answers.take(count=REPORT_BATCH)


def _outcomes(sent: list[Json], answers: _Answers, wait: int, missing: list[Json]) -> Iterator[Json]:
    """Yield the workers' answers in the order of ``sent``; what has none in time goes to ``missing``."""
    end = monotonic() + wait / SECOND
    for facts in sent:
        while facts["entryId"] not in answers.known and not (missing and monotonic() > end):
            left = end - monotonic()
            answers.take(count=1, seconds=max(left, 0.001))
            if left <= 0:
                break
        if answer := answers.known.pop(facts["entryId"], None):
            yield answer
        else:
            missing.append(facts | {"reason": "not decided in time"})


def _answer_row(answer: Json, now: int) -> Row:
    due = answer.get("nextTry")
    return answer, (
        answer["outcome"],
        time_of(moment(due), now) if due else "",
        str(answer.get("attempt") or ""),
        answer.get("case") or "",
        answer.get("reference") or "",
        answer.get("because") or ": ".join(filter(None, (answer.get("path"), answer.get("reason")))),
    )
