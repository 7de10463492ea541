"""What members tell, in words."""

from typing import get_args, get_type_hints

import pytest

from faultlab.contract.member import MemberEvent
from faultlab_operator.scenario.recorder import describe


@pytest.mark.parametrize("type_", get_args(get_type_hints(MemberEvent)["type"]))
def test_every_event_that_a_member_may_tell_has_words(type_: str) -> None:
    event = MemberEvent(1, "demo-0", type_, 3, "t", 0, "one", leader="demo-1", index=7, detail="why")  # type: ignore[arg-type]
    said = describe(event)
    assert said.startswith("demo-0 ")
    assert said.endswith(" (why)")
    assert "None" not in said.replace("is now None", "")
