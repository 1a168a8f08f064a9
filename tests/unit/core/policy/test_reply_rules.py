"""What an SMTP reply changes in a rule: decided, scheduled, explained and simulated alike."""

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.decide import plan, rule_of
from softbounce.core.durations import HOUR, MINUTE
from softbounce.core.events import parse
from softbounce.core.policy.diff import changes
from softbounce.core.policy.file import load
from softbounce.core.policy.model import Disposition
from softbounce.core.reasons import Fault, built_in_fault
from softbounce.errors import InvalidPolicy
from softbounce.explain.decision import Facts, explain, explain_text

ROOT = Path(__file__).parents[4]
NOW = 1_795_192_343_000  # 2026-11-20T16:32:23Z
SETTLE = 7 * HOUR
CODES = ("OWN", "INVALID_SENDER_ERROR", "PROVIDER_ERROR", "BOUNCE_PERMANENT_GENERAL", "PLACEHOLDER_ERROR")
PATTERNS = ("4*", "4.2.*", "4.2.1", "5.1.1", "550")
REPLIES = ("4.2.1", "4.4.1", "421", "5.1.1", "550", None)
HARDNESS = ("ignore", "retry", "drop", "hold", "suppress")  # drop and hold are alike


@dataclass(frozen=True, kw_only=True)
class Said:
    """A rule, or a branch of it, as the file says it; without a fault it has that of what it belongs to."""

    do: str
    fault: str | None
    smtp: str = ""

    @property
    def text(self) -> str:
        """The YAML of its own keys."""
        smtp = f'smtp: ["{self.smtp}"], ' if self.smtp else ""
        return f"{smtp}do: {self.do}" + (f", fault: {self.fault}" if self.fault else "")


@st.composite
def rules(draw: st.DrawFn) -> tuple[str, Said, list[Said]]:
    """Return a code, its rule and its branches, such as the loader takes."""
    code = draw(st.sampled_from(CODES))
    natural = built_in_fault(code)
    blamed = [fault for fault in Fault if fault is not Fault.RECIPIENT or natural in (None, fault)]
    fault = draw(st.none() | st.sampled_from(blamed))
    own = fault or natural or Fault.MESSAGE

    def said(fault: Fault | None, hardest: str, smtp: str = "") -> Said:
        most = HARDNESS.index("hold" if hardest == "drop" else hardest)
        verdicts = [do for do in HARDNESS[: most + 1] if do != "suppress" or (fault or own) == "recipient"]
        return Said(do=draw(st.sampled_from(verdicts)), fault=fault, smtp=smtp)

    rule = said(fault, "suppress")
    softer = [one for one in Fault if one is not Fault.RECIPIENT or own is Fault.RECIPIENT]
    branches = [
        said(draw(st.none() | st.sampled_from(softer)), rule.do, smtp)
        for smtp in draw(st.lists(st.sampled_from(PATTERNS), max_size=3))
    ]
    return code, rule, branches


@given(rules(), st.sampled_from(REPLIES))
def test_what_the_reply_changes_is_decided_scheduled_explained_and_simulated_alike(ruled, reply):
    """The first branch that matches gives its verdict, and its fault if it names one; nothing else does."""
    code, rule, branches = ruled
    branch = next((one for one in branches if fnmatch(reply or "", one.smtp)), rule)
    fault = Fault(branch.fault or rule.fault or built_in_fault(code) or "message")
    listed = ", ".join(f"{{{one.text}}}" for one in branches)
    policy = load(
        f"version: 1\ndefaults: {{retry: {{delays: [1m], jitter: 0%, settle: {SETTLE // HOUR}h}}}}\n"
        f"codes:\n  {code}: {{{rule.text}{f', when: [{listed}]' if listed else ''}}}\n",
        file="policy.yaml",
    )
    error = {"type": "SEND_ERROR", "reasonCode": code, "details": {"smtpCode": reply}}
    sent = {"channel": "EMAIL", "reference": "m-1", "recipients": ["jane@web.de"], "error": error}
    raw = json.dumps({"type": "MESSAGE_NOT_DELIVERED", "claim": {"communication": sent}})
    event = parse(raw)
    decision = plan(event, policy=policy, now=NOW)
    told = explain(raw, policy=policy, now=NOW, all_layers=True)
    first = explain_text(Facts(plan=decision, policy=policy, now=NOW, zone="UTC"))[2]

    assert (decision.do, decision.fault, decision.rule.fault) == (branch.do, fault, fault)
    assert [due.at - NOW for due in decision.dues] == (
        [] if branch.do != Disposition.RETRY else [SETTLE] if fault is Fault.RECIPIENT else [MINUTE]
    )
    assert decision.counts == (fault is Fault.RECIPIENT and branch.do in ("retry", "drop"))
    assert (told["disposition"], told["fault"]) == (branch.do, fault)
    assert (told["settings"]["do"]["value"], told["settings"]["fault"]["value"]) == (branch.do, fault)
    assert first.split()[:2] == ["do", branch.do]
    assert f"fault {fault}, " in first
    assert rule_of(event, policy) is decision.rule


TEXTS = ("user unknown", "mailbox not found", "no such user", "sender verify failed")
SPACES = (" ", "\n", "\t", "  ", "\r\n")


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    """Return a reply's text and the patterns it holds, in any capitals and with any blanks."""
    held = draw(st.lists(st.sampled_from(TEXTS), unique=True))
    shapes = [draw(st.sampled_from((str.upper, str.title, str.lower))) for _ in held]
    blank = draw(st.sampled_from(SPACES))
    parts = [shape(text).replace(" ", blank) for shape, text in zip(shapes, held, strict=True)]
    noise = draw(st.text(alphabet="xyz.-<>@ \n", max_size=30))
    return f" {noise} ".join(["550", *parts, "end"]), tuple(held)


@given(texts(), st.lists(st.tuples(st.sampled_from((*TEXTS, "")), st.sampled_from(("550", "5.1.1", "")))))
def test_a_branch_applies_where_its_text_and_its_status_are_in_the_reply(read, branches):
    """Capitals and blanks do not matter, the first match wins, and the history keeps the pattern alone."""
    message, held = read
    branches = [(text, smtp) for text, smtp in branches if text or smtp]
    said = (
        {"text": [text] * bool(text), "smtp": [smtp] * bool(smtp), "do": "hold"} for text, smtp in branches
    )
    listed = ", ".join(json.dumps({key: value for key, value in one.items() if value}) for one in said)
    policy = load(
        f"version: 1\ncodes: {{OWN: {{do: suppress, fault: recipient, when: [{listed}]}}}}", file="p"
    )
    key = {"code": "OWN", "channel": None, "merchant": None, "smtp": "550"}
    first = next((one for one in branches if one[0] in (*held, "") and one[1] in ("550", "")), None)
    found = policy.rule_for(**key, text=message)

    assert found.do == ("hold" if first else "suppress")
    assert found.text == ((first[0] or None) if first else None)
    assert policy.rule_for(**key, text=found.text).do == found.do


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", "write 4 to 100 characters"),
        ("a  b", "write 4 to 100 characters"),
        ("x" * 101, "write 4 to 100 characters"),
        ("user\\u0000unknown", "write 4 to 100 characters"),
    ],
)
def test_a_pattern_of_a_text_is_bounded(text, said):
    """A shorter one would be in half of all replies."""
    when = f'[{{text: ["{text}"], do: hold}}]'

    with pytest.raises(InvalidPolicy, match=said):
        load(f"version: 1\ncodes: {{OWN: {{do: suppress, fault: recipient, when: {when}}}}}", file="p")


@pytest.mark.parametrize("branch", ["{text: [user unknown], do: suppress, fault: recipient}", "{do: hold}"])
def test_a_text_never_hardens_and_a_branch_needs_something_to_look_at(branch):
    """As for the status; a branch without both would silently take every reply."""
    with pytest.raises(InvalidPolicy, match=r"never harden it|smtp, text or both"):
        load(f"version: 1\ncodes: {{OWN: {{do: retry, fault: recipient, when: [{branch}]}}}}", file="p")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("550 5.1.1 unknown", "suppress recipient"),
        ("550 No Such User here", "suppress recipient"),
        ("550-5.1.1 sender verify failed", "hold message"),
        ("550 rejected: the user unknown to Spamhaus", "hold message"),
        ("450 user unknown", "retry recipient"),
        ("550 rejected", "hold message"),
        ("rejected", "suppress recipient"),
    ],
)
def test_the_shipped_policy_convicts_at_once_on_its_list_only(reply, verdict):
    """A text alone, without a status, and no text at all are confirmed by a second report."""
    text = (ROOT / "config/policy.yaml").read_text(encoding="utf-8")
    error = {"type": "SEND_ERROR", "reasonCode": "BOUNCE_PERMANENT_GENERAL", "details": {"message": reply}}
    sent = {"channel": "EMAIL", "reference": "m-1", "recipients": ["jane@web.de"], "error": error}
    event = parse({"type": "MESSAGE_NOT_DELIVERED", "claim": {"communication": sent}})
    found = plan(event, policy=load(text, file="p"), now=NOW)

    assert f"{found.do} {found.fault}" == verdict
    assert (found.confirm is not None) == (reply == "rejected")


def test_a_changed_text_is_a_change_of_the_policy():
    """Whoever reviews a new policy sees it, once, at its line."""
    text = "version: 1\ncodes: {OWN: {do: suppress, fault: recipient, when: [\n{text: [user unknown], do: hold}]}}"
    old, new = load(text, file="a"), load(text.replace("hold", "retry"), file="b")
    found = [(one.key, one.old, one.new, one.at) for one in changes(old, new)]

    assert found == [("codes.OWN.when.do", "hold", "retry", "b:3")]
