import pytest

from gradwire_common.layout.buffers import BufferSchedule


@pytest.mark.parametrize(
    ("every", "rounds", "averaged"),
    [(1, 4, [1, 2, 3, 4]), (3, 7, [3, 6, 7]), (10, 4, [4]), (3, 0, [3, 6, 9]), (0, 5, [])],
)
def test_buffers_are_averaged_every_so_many_rounds_and_in_the_last(every, rounds, averaged):
    schedule = BufferSchedule(every, rounds)
    assert [round_ for round_ in range(1, (rounds or 10) + 1) if schedule.due(round_)] == averaged
    for version in range((rounds or 10) + 1):
        assert schedule.newest(version) == max((v for v in averaged if v <= version), default=0)
