"""The policy file: what is read, what is refused, and where the finger points."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.durations import LONGEST, SECOND, parse_duration, words
from softbounce.core.policy import file as policy_file
from softbounce.core.policy import schema as policy_schema
from softbounce.core.policy.model import Policy
from softbounce.core.policy.values import BUILT_IN
from softbounce.core.policy.yaml_tree import Tree
from softbounce.errors import InvalidPolicy

ROOT = Path(__file__).parents[4]
SHIPPED = (ROOT / "config/policy.yaml").read_text(encoding="utf-8")
BROKEN = ROOT / "tests/data/broken"
EXPECT = "# expect: "


def findings(text: str) -> list[str]:
    """Return the first line of each finding, without the file's name."""
    _, problems = policy_file.check(text, file="policy.yaml")
    return [p.rendered.splitlines()[0].removeprefix("policy.yaml:") for p in problems]


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_mistake_is_found_at_once_at_its_place_and_in_line_order(path):
    """One run tells an operator everything, each with line and column, as the file's last comments say."""
    text = path.read_text(encoding="utf-8")
    expected = [line.removeprefix(EXPECT) for line in text.splitlines() if line.startswith(EXPECT)]

    assert expected
    assert findings(text) == expected


def test_there_are_fifty_broken_files():
    """The catalogue of what operators get wrong does not shrink unseen (issue 5)."""
    assert len(list(BROKEN.glob("*.yaml"))) >= 50


def test_a_problem_shows_the_line_and_a_caret_below_the_word():
    """The format is that of compilers: file:line:col, then the source with a marker."""
    with pytest.raises(InvalidPolicy) as error:
        policy_file.load("version: 1\ndefaults:\n  retry:\n    max_atempts: 6\n", file="config/policy.yaml")

    assert str(error.value).splitlines() == [
        "config/policy.yaml:4:5: error: unknown key 'max_atempts'; did you mean 'max_attempts'?",
        "  4 |     max_atempts: 6",
        "    |     ^^^^^^^^^^^",
    ]


def test_a_secret_in_the_file_is_not_repeated():
    """What a finding shows reaches logs, so a signing key or a password of a URL becomes stars of its length."""
    url = "{type: webhook, url: 'https://me:mine@desk.example', secret: whsec_c2VjcmV0}"
    _, problems = policy_file.check(f"version: 1\nescalation: {{targets: {{desk: {url}}}}}", file="p")
    text = "\n".join(problem.rendered for problem in problems)

    assert len([problem for problem in problems if problem.severity == "error"]) == 2
    assert "mine" not in text
    assert "c2VjcmV0" not in text


@pytest.mark.parametrize("url", ["slack://TokenA/TokenB", "https://hooks.slack.example/services/TokenB"])
def test_an_address_of_apprise_in_the_file_is_refused_and_not_repeated(url):
    """It is made of tokens: the finding says where they belong, and neither it nor its neighbour shows them."""
    text = f"version: 1\nescalation:\n  targets:\n    oncall: {{type: apprise, url: '{url}'}}\n"
    _, problems = policy_file.check(text, file="p")
    (problem,) = problems

    assert "name a variable that holds it" in problem.message
    assert "TokenB" not in problem.rendered
    assert "TokenB" not in str(policy_file.check("{version: 1, nam: 'x', x: 'slack://a/TokenB'}", file="p"))


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


def test_a_merchant_with_blanks_around_it_is_refused():
    """An id of a report has none by the time the policy is asked, so that such a key would match nobody."""
    text = 'version: 1\nmerchants:\n  " 42 ": {codes: {SMS_EXPIRED: {do: hold}}}\n'

    assert findings(text) == [
        "3:3: error: has blanks around it: ids are compared without them, so it would match no merchant"
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
