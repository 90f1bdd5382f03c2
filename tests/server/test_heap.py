"""What a server does about the garbage collector."""

import gc

from gradwire_server.limits.heap import unscanned


def test_what_was_there_is_not_scanned_while_a_server_serves_and_is_afterwards() -> None:
    before = gc.get_freeze_count()
    cycle: list[object] = []
    cycle.append(cycle)
    with unscanned():
        assert gc.get_freeze_count() > before
        assert not any(tracked is cycle for tracked in gc.get_objects())
        late: list[object] = []
        late.append(late)
        assert any(tracked is late for tracked in gc.get_objects())
    assert gc.get_freeze_count() == 0
    assert any(tracked is cycle for tracked in gc.get_objects())
