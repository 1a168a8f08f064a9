"""The policy file: what is read, what is refused, and where the finger points."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core import policy_file, policy_schema
from softbounce.core.durations import LONGEST, SECOND, parse_duration, words
from softbounce.core.policy import Policy
from softbounce.core.policy_values import BUILT_IN
from softbounce.core.yaml_tree import Tree
from softbounce.errors import InvalidPolicy

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "config/policy.yaml").read_text(encoding="utf-8")
BROKEN = ROOT / "tests/data/broken"
NO_FAULT = "needs fault: recipient"
LATER = "arrives with a later release; remove it until then"
REFUSED = "'fault: recipient' is refused"
COVERS = "'fault: recipient' covers faults of others; give rules of their own to"
ATTACHMENT, CONTENT = "BOUNCE_TRANSIENT_ATTACHMENT_REJECTED", "BOUNCE_TRANSIENT_CONTENT_REJECTED"
THREE = f"{ATTACHMENT}, {CONTENT}, BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE"
VERDICTS = "retry, suppress, hold, drop or ignore"
WINDOW = "the longest retry window (5d, codes.BOUNCE_TRANSIENT_MBX_FULL, :4)"
NOT_THEIRS = "a reply never moves the blame to the recipient"
HARDENS = "a reply may soften a verdict, never harden it"
FINDINGS = {
    "typo-and-units": [
        "6:5: error: unknown key 'max_atempts'; did you mean 'max_attempts'?",
        "8:13: error: a duration needs a unit, for example 30m or 30s",
        "10:68: error: a duration needs a unit, for example 30m or 30s",
        "10:73: error: '2w' is no duration; write a number and s, m, h or d, for example 90m or 14d",
        f"11:23: error: codes.PLACEHOLDER_ERROR: 'suppress' {NO_FAULT} (it is message)",
    ],
    "duplicate-key": [
        "5:3: error: duplicate key 'SMS_EXPIRED'; the first is in line 3",
        "6:27: error: duplicate key 'max_attempts'; the first is in line 6",
    ],
    "suppress-without-fault": [
        f"3:24: error: codes.QRBILL_ERROR: 'suppress' {NO_FAULT} (it is message)",
        f"3:24: error: codes.SNIPPET_ERROR: 'suppress' {NO_FAULT} (it is message)",
        f"5:20: error: codes.ACCOUNT_CLOSED: 'suppress' {NO_FAULT} (it is message)",
        f"9:13: error: codes.INVALID_CLAIM: 'then: suppress' {NO_FAULT} (it is message)",
        f"10:24: error: codes.BOUNCE_TRANSIENT_*: 'suppress' {NO_FAULT} (it is message) for {THREE}",
        f"15:22: error: merchants.42.codes.SMS_REJECTED: 'suppress' {NO_FAULT} (it is provider)",
        f"16:24: error: merchants.42.codes.PROVIDER_ERROR: 'suppress' {NO_FAULT} (it is provider)",
    ],
    "raised-fault": [
        f"4:27: error: codes.QR*: {COVERS} QRBILL_ERROR, QR_EPC_ERROR",
        f"5:43: error: codes.INVALID_SENDER_ERROR: {REFUSED} (this code's fault is config)",
        f"6:30: error: codes.*: {COVERS} ATTACHMENTS_ERROR, {ATTACHMENT}, {CONTENT} and 7 more",
        "6:30: error: codes.*: a code that nobody knows never blames the recipient",
    ],
    "hardening": [
        f"7:27: error: codes.BOUNCE_TRANSIENT_GENERAL.when: {HARDENS} (retry to suppress)",
        f"8:27: error: codes.BOUNCE_TRANSIENT_GENERAL.when: {HARDENS} (retry to hold)",
        "10:77: error: '6.0.0' is no SMTP reply; write for example 552, 5.2.2, 5.4.* or 4*, in quotes",
        f"14:45: error: codes.INVALID_CLAIM.when: {NOT_THEIRS} (it is message)",
        "17:5: error: codes.SMS_EXPIRED: 'confirm' needs do: suppress (it is retry)",
    ],
    "later-release": [
        f"5:5: error: 'brake' {LATER}",
        f"6:1: error: 'providers' {LATER}",
        f"9:3: error: 'group_by' {LATER}",
        f"10:3: error: 'group_wait' {LATER}",
        f"11:3: error: 'repeat' {LATER}",
        f"14:18: error: a target of type 'webhook' {LATER}",
        f"15:20: error: a target of type 'apprise' {LATER}",
    ],
    "python-tag": ["2:7: error: a tag has no meaning here: '!!python/object/apply:os.system'"],
    "laughs": ["7:22: error: more than 50000 values once aliases are followed"],
    "quiet-hours": [
        "3:13: error: no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        "4:23: error: '25:00' is no time of day; write 00:00 to 23:59, in quotes, for example \"21:00\"",
        "7:53: error: days are all, or a list of mon, tue, wed, thu, fri, sat, sun",
        "9:5: error: spread is longer than the 30m outside of the quiet hours",
        "11:22: error: 'false' is neither off nor a block of keys",
        "12:9: error: 'to' is missing here",
    ],
    "dedupe-too-short": [
        f"2:21: error: dedupe must be longer than {WINDOW}, or a late repeat starts the message again"
    ],
    "tab": ["3:1: error: a tab cannot indent YAML; use spaces"],
    "syntax": ["4:15: error: this is not YAML: expected ',' or '}', but got ':'"],
    "wrong-types": [
        "1:10: error: '2' is not 1",
        "2:11: error: 'delivere' is not one of delivered or none; did you mean 'delivered'?",
        "3:25: error: 'yesterday' is no date; write never, 2026-11-20 or 2026-11-20T08:00:00+01:00",
        "4:24: error: a whole number is needed here, not 'many'",
        "4:45: error: '50' is no rate; write a count and a time, for example 50/s or 6/1d",
        "4:60: error: this must be more than 0",
        "6:29: error: this must be at least 1",
        "6:57: error: '120%' is no share; write a percentage from 0% to 100%, for example 20%",
        "7:3: error: 'quiet_hours' has no value; write one, or {} for an empty block",
        "8:16: error: a block of keys is needed here, not 'forever'",
        "10:3: error: 'sms_expired' is no reason code; use capitals, digits and _, and * at the end only",
        "11:3: error: 'do' is missing here",
        "11:33: error: a list needs at least 1 item here",
        f"12:22: error: 'supress' is not one of {VERDICTS}; did you mean 'suppress'?",
        "14:12: error: no target 'dsk' under escalation.targets; did you mean 'desk'?",
        "16:18: error: 'strem' is not one of log, celery or stream; did you mean 'stream'?",
        "17:5: error: 'task' is missing here",
    ],
    "near-miss": [
        "3:3: warning: 'SMS_EXPIERD' is no known code; did you mean 'SMS_EXPIRED'?",
        "4:3: warning: 'BOUNCE_TRANSENT_*' is no known code; did you mean 'BOUNCE_TRANSIENT_*'?",
    ],
    "empty": ["1:1: error: the file is empty"],
}


def findings(text: str) -> list[str]:
    """Return the first line of each finding, without the file's name."""
    _, problems = policy_file.check(text, file="policy.yaml")
    return [p.rendered.splitlines()[0].removeprefix("policy.yaml:") for p in problems]


def test_every_broken_file_has_an_expectation():
    """A broken file without an expectation would prove nothing."""
    names = {path.stem for path in BROKEN.glob("*.yaml")}

    assert names == set(FINDINGS)


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_every_mistake_is_found_at_once_at_its_place_and_in_line_order(name):
    """One run tells an operator everything, each with line and column."""
    text = (BROKEN / f"{name}.yaml").read_text(encoding="utf-8")

    assert findings(text) == FINDINGS[name]


def test_a_problem_shows_the_line_and_a_caret_below_the_word():
    """The format is that of compilers: file:line:col, then the source with a marker."""
    with pytest.raises(InvalidPolicy) as error:
        policy_file.load("version: 1\ndefaults:\n  retry:\n    max_atempts: 6\n", file="config/policy.yaml")

    assert str(error.value).splitlines() == [
        "config/policy.yaml:4:5: error: unknown key 'max_atempts'; did you mean 'max_attempts'?",
        "  4 |     max_atempts: 6",
        "    |     ^^^^^^^^^^^",
    ]


def test_a_very_long_line_is_shown_around_the_mistake():
    """A file on one line must not flood the terminal."""
    _, problems = policy_file.check(f"{{version: 1, name: {'x' * 50}, {' ' * 5_000}nam: y}}", file="p")
    _, source, caret = problems[0].rendered.splitlines()

    assert len(source) < 200
    assert source[caret.index("^") :].startswith("nam: y")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("version: 1\nname: [" + "[" * 100_000, "2:19: error: nested deeper than 12 levels"),
        ("version: 1\n" + "#" * 300_000, "1:1: error: the file is larger than 256 KiB"),
        ("version: 1\nname: \x07", "2:7: error: YAML does not allow this character"),
        ("version: 1\nname: *nobody", "2:7: error: no anchor '&nobody' above this alias"),
        ("version: 1\nname: &a [*a]", "2:11: error: no anchor '&a' above this alias"),
        ("version: 1\n---\nname: x", "3:1: error: a second document starts here; one is enough"),
        ("version: 1\n? [a]\n: b", "2:3: error: a key must be a word"),
        ('version: 1\nname: "\\ud800"', "2:7: error: this escape is no character"),
        ("- version", "1:1: error: a policy is a block of keys: version: 1 ..."),
        ("name: x", "1:1: error: 'version' is missing here"),
    ],
    ids=[
        "deep",
        "large",
        "control",
        "no-anchor",
        "own-anchor",
        "documents",
        "complex-key",
        "surrogate",
        "list",
        "no-version",
    ],
)
def test_hostile_or_shapeless_text_is_refused_with_one_finding(text, finding):
    """Nothing in a file may hang, crash or be constructed."""
    assert findings(text) == [finding]


def test_a_code_rule_with_a_typing_error_shields_its_wildcard_from_a_second_finding():
    """One mistake is reported once: the broken exact rule still stands before the wildcard."""
    text = SHIPPED.replace("&content {do: retry, fault: message", "&content {do: retry, fault: mesage")

    assert [line.partition("error: ")[2] for line in findings(text)] == [
        "'mesage' is not one of recipient, message, provider or config; did you mean 'message'?"
    ]


def test_the_shipped_file_has_no_finding():
    """What we hand out passes its own check, strictly."""
    assert findings(SHIPPED) == []


def test_the_shipped_defaults_are_the_built_in_ones():
    """A file that says nothing behaves like the shipped one: its comments never lie about defaults."""
    shipped = Tree(SHIPPED).plain()

    assert {key: shipped[key] for key in BUILT_IN} == BUILT_IN


def test_a_policy_of_one_line_holds_everything():
    """Without rules nothing is resent and nobody is suppressed."""
    policy = policy_file.load("version: 1\n", file="p")
    rule = policy.rule_for(code="SMS_EXPIRED", channel=None, merchant=None)

    assert (rule.do, rule.name, policy.at(rule.line)) == ("hold", "defaults.unknown_code", "built-in")


def test_merge_keys_and_aliases_mean_what_yaml_says():
    """What stands beside a merge wins over what is merged in."""
    text = (
        "version: 1\ncodes:\n  AAA: &a {do: retry, fault: provider}\n  BBB: {<<: *a, do: hold}\n  CCC: *a\n"
    )
    policy = policy_file.load(text, file="p")
    rules = [policy.rule_for(code=code, channel=None, merchant=None) for code in ("BBB", "CCC")]

    assert [(rule.do, rule.fault, rule.line) for rule in rules] == [
        ("hold", "provider", 4),
        ("retry", "provider", 5),
    ]


def test_off_no_and_clock_times_are_words():
    """YAML 1.1 would read them as false, false and 1260."""
    tree = Tree("a: off\nb: NO\nc: 21:00\nd: 010\ne: 1_000\nf: 2026-11-20\ng: true\nh: 1.5\n")

    assert list(tree.plain().values()) == ["off", "NO", "21:00", 10, "1_000", "2026-11-20", True, 1.5]


def test_the_revision_follows_the_content():
    """Each record carries it, so a changed comment is another revision too."""
    one, two = (policy_file.load(f"version: 1{end}", file="p").revision for end in ("", " # changed"))

    assert one != two
    assert len(one) == 8


def test_the_json_schema_knows_every_key_of_the_shipped_file():
    """Editors complete and check with it; what they accept we accept."""
    schema = json.dumps(policy_schema.schema())
    keys = set(Tree(SHIPPED).plain()) | set(BUILT_IN["defaults"]) | {"confirm", "when", "origin", "from"}

    assert [key for key in keys if f'"{key}"' not in schema] == []
    assert '"null"' not in schema


PIECES = """version name limits retention defaults retry off delays backoff base codes SMS_EXPIRED SMS_* do
fault suppress recipient merchants escalation targets notify channels sms quiet_hours from to when smtp
confirm {} [] : - , & *a &a { } [ ] << !!int 1 30m 6/1d 20% '21:00' # ~ null"""
WORDS = st.sampled_from([*PIECES.split(), "\n", "\t", " "])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4)
    ),
)


@given(st.text() | st.lists(WORDS).map(" ".join) | st.lists(WORDS).map("".join) | TREES.map(json.dumps))
def test_any_text_is_a_policy_or_an_invalid_policy(text):
    """No text makes the loader raise anything else, and no problem points outside of the text."""
    policy, problems = policy_file.check(text, file="p")

    assert isinstance(policy, Policy) or any(p.severity == "error" for p in problems)
    assert all(1 <= p.line <= len(text.split("\n")) + 1 for p in problems)


@given(st.dictionaries(st.sampled_from(sorted(policy_schema.File.model_fields)), TREES, max_size=3))
def test_any_value_under_a_known_key_is_judged_not_crashed_on(blocks):
    """Every broken value is left out in turn, until the rest can be judged."""
    policy, problems = policy_file.check(json.dumps({"version": 1, **blocks}), file="p")

    assert (policy is None) == any(p.severity == "error" for p in problems)


@given(st.integers(0, LONGEST // SECOND))
def test_a_duration_in_words_reads_back_as_itself(seconds):
    """What we print can be pasted into the file."""
    assert parse_duration(words(seconds * SECOND)) == seconds * SECOND


def test_durations_keep_the_unit_that_people_speak_of():
    """Retry windows are 24h, 48h, 72h; beyond that, days."""
    spoken = [words(parse_duration(text)) for text in ("90m", "24h", "72h", "5d", "0s", "90s", "60m")]

    assert spoken == ["90m", "24h", "72h", "5d", "0s", "90s", "1h"]
