"""What an SMTP reply changes in a rule: decided, scheduled, explained and simulated alike."""

import json
from dataclasses import dataclass
from fnmatch import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.decide import plan
from softbounce.core.durations import HOUR, MINUTE
from softbounce.core.events import parse
from softbounce.core.policy.file import load
from softbounce.core.policy.model import Disposition
from softbounce.core.reasons import Fault, built_in_fault
from softbounce.explain.decision import Facts, explain, explain_text
from softbounce.simulate.replay import rule_of

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
    assert rule_of(policy, event) is decision.rule
