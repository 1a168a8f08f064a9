"""``softbounce breakers``: providers that get no resends for a while."""

from live import HOUR, START, failed


def test_a_person_opens_and_closes_a_breaker(desk):
    """Nothing goes to that provider meanwhile; closed, what waited comes at once, by the ramp."""
    for n in range(3):
        desk.report(failed(f"m{n}"))
    name = "sms:1"
    opened = desk.run("breakers", "open", name, "--for", "200d", "--reason", "they are down")
    desk.store.set_now(START + 5 * HOUR)
    desk.pump()
    left_while_open = desk.pump()
    (row,) = desk.data("breakers", "list")
    explained = desk.run("explain", "m0").stdout
    findings = desk.run("doctor").stdout
    closed = desk.run("breakers", "close", name, "--reason", "they are back")

    assert "Nothing goes to sms:1 until" in opened.stdout
    assert left_while_open == []
    assert (row["state"], row["waiting"], row["byHand"]) == ("open", 3, True)
    assert "the breaker of its provider sms:1 is open until" in explained
    assert "the breaker of sms:1 is open until" in findings
    assert "3 waiting retries got their own time back" in closed.stdout
    assert len(desk.pump()) == 1
    assert desk.data("breakers", "list")[0]["state"] == "ramping"
    assert [row["action"] for row in desk.data("audit", "list", "--limit", 3)] == [
        "resume",
        "breaker closed",
        "breaker opened",
    ]


def test_a_breaker_needs_a_name(desk):
    """An empty name, or that of all, is refused with a sentence."""
    for name in ("*", " "):
        result = desk.run("breakers", "open", name, "--reason", "x")

        assert result.exit_code == 2
        assert "name one provider" in result.stderr
    assert "is the name right?" in desk.run("breakers", "close", "acme", "--reason", "x").stdout
