"""Any message to any call, of a few hundred; `make fuzz-rpc` makes as many as it is told."""

from safety.fuzz_rpc import CALLS, fuzz


def test_no_message_to_any_call_breaks_anything_for_anybody(tmp_path):
    answers = fuzz(tmp_path, 400)
    assert sum(answers.values()) >= 300
    assert {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION"} <= answers.keys()
    assert len(CALLS) >= 10
