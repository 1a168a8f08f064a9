"""What a resend command says of itself."""

import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.records import command_id
from softbounce.core.timestamps import FIRST, LAST, iso


@given(st.text(max_size=30), st.integers(0, 1000))
def test_a_command_s_id_is_a_uuid_of_its_delivery_and_try(delivery, attempt):
    """Made by hand for speed, and the same as the library makes; it never changes, or every dedupe breaks."""
    namespace = uuid.UUID("5b6f0a3e-6f0e-5c0a-9a55-1d3c6a1b7f10")

    assert command_id(delivery, attempt) == str(uuid.uuid5(namespace, f"{delivery}/{attempt}"))


@given(st.integers(FIRST, LAST))
def test_a_time_is_written_as_the_library_writes_it(moment):
    """RFC 3339 in UTC, to the second."""
    whole = datetime.fromtimestamp(moment // 1000, UTC).replace(tzinfo=None)

    assert iso(moment) == f"{whole.isoformat()}Z"
