"""What every command refuses: keys and texts that nobody means."""

from .desk import NUMBER


def test_a_mistaken_key_is_refused_and_leaves_no_trace(desk, monkeypatch):
    """A command with the wrong key must not lock out those with the right one."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    with monkeypatch.context() as mistaken:
        mistaken.setenv("SOFTBOUNCE_PII_KEY", "a key of another store")
        refused = desk.run("suppressions", "check", NUMBER)

    assert refused.exit_code == 1
    assert "not the key this store was written with" in refused.stderr
    assert desk.run("suppressions", "check", NUMBER).stdout.startswith("suppressed")


def test_a_text_without_end_is_refused_in_a_sentence(desk):
    """A reason, a value or a name of 5 MB: exit code 2, the field named, and nothing written."""
    huge = "x" * 5_000_000
    for words, field in (
        (("mode", "off", "--reason", huge), "reason"),
        (("mode", "off", "--merchant", huge, "--reason", "test"), "merchant"),
        (("retries", "cancel", f"claim:{huge}", "--reason", "test"), "claim"),
        (("suppressions", "add", NUMBER, "--merchant", huge, "--reason", "asked"), "merchant"),
        (("cases", "ack", huge, "--reason", "test"), "case"),
    ):
        refused = desk.run(*words)
        assert refused.exit_code == 2, refused.stderr[:200]
        assert f"{field}: is longer than" in refused.stderr[:200]
    assert list(desk.store.audit.entries()) == []


def test_what_does_not_exist_comes_with_the_command_that_lists_what_does(desk):
    """The store names the noun; the command line says how to list it."""
    for noun, ident, told in (
        ("cases", "k_9", "no case k_9; see: softbounce cases list"),
        ("dead-letters", "abc", "no dead letter abc; see: softbounce dead-letters list"),
    ):
        refused = desk.run(noun, "show", ident)

        assert (refused.exit_code, refused.stderr.strip()) == (1, told)
