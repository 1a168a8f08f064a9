"""``softbounce mode`` and ``audit``: the switch, and who changed what."""

from live import MINUTE, START, failed


def test_the_switch_stops_and_starts_hand_overs(desk):
    """Off: nothing leaves; on: it goes on where it was."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.store.set_now(START + 10 * MINUTE)
    desk.run("mode", "off", "--reason", "wrong template")
    (everybody,) = desk.data("mode")
    while_off = desk.pump()
    desk.run("mode", "on", "--reason", "mended")

    assert (everybody["mode"], everybody["reason"], while_off) == ("off", "wrong template", [])
    assert desk.pump() == ["a"]


def test_one_merchant_can_be_stopped_alone(desk):
    """The others go on; the list shows both."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.run("mode", "off", "--merchant", "1", "--reason", "x")
    desk.store.set_now(START + 10 * MINUTE)

    assert desk.pump() == []
    assert [row["merchant"] for row in desk.data("mode")] == [None, "1"]


def test_the_audit_is_found_by_who_what_and_age(desk):
    """Before and after of a change are in the JSON form."""
    desk.run("mode", "off", "--reason", "first", "--actor", "eva")
    desk.run("mode", "on", "--reason", "second", "--actor", "max")
    (entry,) = desk.data("audit", "list", "who:eva")

    assert (entry["action"], entry["reason"], entry["after"]["mode"]) == ("mode off", "first", "off")
    assert [row["actor"] for row in desk.data("audit", "list", "action:mode*", "age:<1h")] == ["max", "eva"]
