"""The words by which lists are filtered."""

from softbounce.core.filters import parse_filter


def test_an_id_is_found_in_whatever_form_a_system_wrote_it():
    """Blanks around it, braces and capitals of a UUID make no other id."""
    uuid = "a6590eb9-497a-4a7f-b5df-0c2f6f1f7d10"
    wanted = parse_filter(f"reference:{{{uuid.upper()}}}", keys=("reference",))

    assert wanted.matches({"reference": f" {uuid} "})
    assert not wanted.matches({"reference": uuid[:-1]})
