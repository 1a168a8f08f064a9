"""``recipients forget``: no hit is left, whoever else stood beside the address, and nothing more is lost."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner, Result

from softbounce import embedded
from softbounce.cli.main import app
from softbounce.core.decide import dead_letter, decide
from softbounce.core.filters import parse_filter
from softbounce.core.policy import file as policy_file
from softbounce.errors import InvalidEvent
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.store.audit import By

from .canaries import failed, spellings, until

EVERYTHING = parse_filter("", keys=())
NUMBER, OTHER, MAIL = "+4915112345678", "+4915187654321", "Jane.Canary@Example.COM"


@dataclass
class Desk:
    """A store in a data folder of its own, and the commands."""

    data: Path
    store: Store
    client: redis.Redis
    policy: Any

    def run(self, *words: str) -> Result:
        """Run one command."""
        return CliRunner().invoke(app, words)

    def report(self, *events: dict[str, Any]) -> None:
        """Let events be accepted, as a worker does."""
        decisions = [
            decide(json.dumps(event).encode(), policy=self.policy, now=self.store.now()) for event in events
        ]
        self.store.ledger.accept(decisions, policy=self.policy)

    def bury(self, raw: bytes) -> None:
        """Keep a dead letter."""
        self.store.ledger.accept([dead_letter(raw, InvalidEvent("odd"))], policy=self.policy)

    def lies_on_disk(self, *texts: str) -> list[str]:
        """Return which texts the data folder holds after a rewrite of the AOF."""
        self.client.config_set("rdbcompression", "no")  # or a search finds nothing, whatever is there
        self.client.bgrewriteaof()
        until(
            lambda: (
                (info := self.client.info("persistence"))["aof_rewrite_in_progress"] == 0
                and info["aof_rewrite_scheduled"] == 0
            )
        )
        files = [path.read_bytes() for path in self.data.rglob("*") if path.is_file()]
        files += [
            letter.raw for letter in self.store.dead_letters.select(EVERYTHING, now=0)
        ]  # Base64 on disk
        there = b"\n".join(files).lower()
        return [text for text in texts if text.lower().encode() in there]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An embedded Valkey of this test alone."""
    text, file = policy_text()
    data = tmp_path / "data"
    data.mkdir()
    with embedded.start(data) as server, redis.Redis.from_url(server.url) as client:
        monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", server.url)
        store = Store.open(server.url)
        yield Desk(data, store, client, policy_file.load(text, file=file))
        store.close()


def everywhere(desk: Desk) -> None:
    """Put the canaries into every place that may hold an address."""
    desk.report(
        failed("one", [NUMBER]),
        failed("several", [NUMBER, OTHER]),
        failed("blocked", [NUMBER], code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR"),
        failed("mail", [MAIL], code="MBX_FULL", channel="EMAIL"),
        failed("object", [{"email": MAIL, "phoneNumber": OTHER}]),
    )
    desk.bury(b'{"to": "0049 151 12345678", torn')
    desk.bury(json.dumps([[failed("x", ["jane.canary%40example.com"])], {}, {}]).encode())
    desk.bury(b'{"to": "someone.else@example.com"}')
    for name, field in (("resend", "command"), ("notices", "notice")):
        for recipients in ([NUMBER], [OTHER, NUMBER], [OTHER]):
            body = json.dumps({"recipients": recipients, "id": "i"})
            desk.client.xadd(f"softbounce:{name}", {"id": "i", field: body})


def test_after_forgetting_and_a_rewrite_nothing_on_disk_holds_the_address(desk: Desk):
    """Waiting retries to one or several, notices, dead letters, streams and suppressions, in each spelling."""
    everywhere(desk)
    assert desk.lies_on_disk(NUMBER, MAIL) == [NUMBER, MAIL]
    for address in (NUMBER, MAIL):
        result = desk.run("recipients", "forget", address, "--reason", "request 77", "-o", "json")
        assert result.exit_code == 0, result.output

    streamed = json.dumps([str(desk.client.xrange(f"softbounce:{name}")) for name in ("resend", "notices")])
    assert NUMBER not in streamed
    for name in ("resend", "notices"):  # a server frees a deleted entry with its neighbours, up to 100
        desk.client.xtrim(f"softbounce:{name}", maxlen=0, approximate=False)
    assert desk.lies_on_disk(*spellings(NUMBER), *spellings(MAIL)) == []
    assert desk.lies_on_disk(OTHER, "someone.else@example.com") == [OTHER, "someone.else@example.com"]


def test_forgetting_one_of_several_leaves_the_retry_to_the_others(desk: Desk):
    """The record names who is left, in step with their hashes, and goes out to them."""
    desk.report(failed("several", [NUMBER, OTHER, "+491511111111"]))
    assert desk.run("recipients", "forget", OTHER, "--reason", "request 77").exit_code == 0
    (story,) = desk.store.retries.find("several")

    assert (story.delivery.state, story.delivery.recipients) == ("waiting", (NUMBER, "+491511111111"))
    assert story.delivery.head["rs"] == [
        desk.store.suppressions.rid(number, "sms") for number in (NUMBER, "+491511111111")
    ]


def test_a_command_to_several_comes_again_without_the_forgotten_one(desk: Desk):
    """Under the same id, so that a receiver which has acted on it acts once; one to nobody else goes."""
    everywhere(desk)
    desk.run("recipients", "forget", NUMBER, "--reason", "request 77")
    commands = [
        (fields[b"id"], json.loads(fields[b"command"])["recipients"])
        for _, fields in desk.client.xrange("softbounce:resend")
    ]

    assert sorted(commands) == [(b"i", [OTHER]), (b"i", [OTHER])]


def test_a_dry_run_tells_where_the_address_lies_and_changes_nothing(desk: Desk):
    """Each place by its kind, with the block; not even an audit entry is written."""
    everywhere(desk)
    before = desk.client.hgetall("{sb:default}:deliveries"), desk.client.xlen("{sb:default}:audit")
    result = desk.run("recipients", "forget", NUMBER, "--reason", "request 77", "--dry-run", "-o", "json")
    facts = json.loads(result.stdout)

    assert {name: facts[name] for name in ("suppressions", "retries", "dead_letters", "stream_entries")} == {
        "suppressions": 1,
        "retries": 2,
        "dead_letters": 1,
        "stream_entries": 4,
    }
    assert (facts["dryRun"], facts["block"]) == (True, True)
    assert before == (desk.client.hgetall("{sb:default}:deliveries"), desk.client.xlen("{sb:default}:audit"))
    assert NUMBER not in result.output


@pytest.mark.parametrize(
    ("prepare", "said"), [("block", "A block on it stays"), ("none", "There is no block")]
)
def test_forgetting_says_whether_a_block_stays(desk: Desk, prepare: str, said: str):
    """Only where there is one."""
    if prepare == "block":
        desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    result = desk.run("recipients", "forget", NUMBER, "--reason", "request 77")

    assert said in result.stdout
    assert desk.run("suppressions", "check", NUMBER).exit_code == (1 if prepare == "block" else 0)


def test_a_report_that_nobody_has_read_is_not_deleted(desk: Desk):
    """Nothing accepted is lost: forgetting says that it is there, and exits 5."""
    desk.store.events.publish([json.dumps(failed("unread", [NUMBER])).encode()])
    result = desk.run("recipients", "forget", NUMBER, "--reason", "request 77")

    assert result.exit_code == 5
    assert "1 unread" in result.stderr
    assert desk.client.xlen("softbounce:events") == 1


def test_what_changes_while_we_look_is_looked_at_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """A record that was written anew between the search and the erasure loses the address, too."""
    desk.report(failed("first", [NUMBER]))
    find: Callable[..., Any] = desk.store.erasure.find
    late = [failed("late", [NUMBER])]

    def find_and_report(*args: Any, **named: Any) -> Any:
        found = find(*args, **named)
        if late:
            desk.report(late.pop())
        return found

    monkeypatch.setattr(desk.store.erasure, "find", find_and_report)
    rid = desk.store.suppressions.rid(NUMBER, "sms")
    desk.store.erasure.erase(rid, streams={}, by=By("me", secrets.token_hex(4)), history_kept=1000)

    assert find(rid, streams={}).deliveries == {}


@pytest.mark.parametrize("is_set_aside", [True, False], ids=["set aside", "found first"])
@pytest.mark.parametrize(
    "damage", [b"\xff", b"{}", b"no deadline"], ids=["no UTF-8", "no record", "no deadline"]
)
def test_a_record_that_nobody_can_read_keeps_no_address(desk: Desk, damage: bytes, *, is_set_aside: bool):
    """Its bytes hold the address: they go as a whole, whether a claim set them aside before or not."""
    desk.report(failed("m1", [NUMBER]), failed("m2", [OTHER]))
    key = desk.store.keys.fixed("deliveries")
    ident, raw = next((name, raw) for name, raw in desk.client.hgetall(key).items() if NUMBER.encode() in raw)
    head, rest = raw.split(b"\n", 1)
    changed = head.replace(b'"x":', b'"xx":') + b"\n" + rest if damage == b"no deadline" else damage + raw
    desk.client.hset(key, ident, changed)
    if is_set_aside:
        desk.store.sweep(policy=desk.policy)

    assert desk.run("recipients", "forget", NUMBER, "--reason", "asked").exit_code == 0

    assert desk.lies_on_disk(NUMBER) == []
    assert desk.lies_on_disk(OTHER) == [OTHER]


def test_what_is_suppressed_after_forgetting_stays_hashed(desk: Desk):
    """A late verdict, a person's word and an import know the recipient by the hash alone."""
    desk.report(failed("m1", [NUMBER]))
    assert desk.run("recipients", "forget", NUMBER, "--reason", "asked").exit_code == 0
    desk.report(failed("m2", [NUMBER], code="OPT_OUT"))
    desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--merchant", "7")
    row = {"channel": "sms", "address": NUMBER, "code": "COMPLAINT"}
    list(desk.store.suppressions.load([row], by=By("me", "list"), now=desk.store.now()))
    found = list(desk.store.suppressions.find(NUMBER, "sms"))

    assert len(found) == 3
    assert not any(entry.address for entry in found)
