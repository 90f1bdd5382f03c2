"""Many small questions that cost the server more than those who ask.

    python attacks/questions.py

Answers:
    joins with another model: FAILED_PRECONDITION
    the status, 300 times: answered
    what is held of a push, 300 times: answered
"""

from concurrent.futures import ThreadPoolExecutor

from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import Stage, perform

CALLS = 300


def attack(on: Stage) -> None:
    """Ask for what takes long to find out."""
    evil = on.peer("evil")
    evil.join()
    big = pb.Manifest(tensors=[pb.TensorSpec(name=f"t{i}", shape=[1], dtype="float32") for i in range(9_000)])
    with ThreadPoolExecutor(8) as pool:
        refusals = list(pool.map(lambda _: refused(on, big), range(20)))
        answers = list(pool.map(lambda _: evil.status(), range(CALLS)))
        staged = list(pool.map(lambda _: evil.staged(on.rounds + 1), range(CALLS)))
    on.say(f"joins with another model: {sorted(set(refusals))[0]}")
    on.say(f"the status, {len(answers)} times: answered")
    on.say(f"what is held of a push, {len(staged)} times: answered")


def refused(on: Stage, manifest: pb.Manifest) -> str:
    """Return what a join with another model is answered."""
    try:
        on.peer("evil2").join(manifest=manifest)
    except Exception as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "answered"


if __name__ == "__main__":
    perform(attack)
