"""A worker without torch: a linear classifier of the digits in numpy, trained through a session.

gradwire server --workers 2 --rounds 100 --lr 0.5 --quantizer float32    # in one terminal
python examples/without_torch.py 127.0.0.1:50051                                # in two others
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

from gradwire_common.errors import RunEndedError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.update import encode_exact
from gradwire_worker.session import Session

MANIFEST = Manifest((TensorSpec("weight", (64, 10)),))


def main(server: str) -> None:
    """Train until the server ends the run."""
    images, classes = load_digits(return_X_y=True)
    x, wanted = (images / 16).astype(np.float32), np.eye(10, dtype=np.float32)[classes]
    with Session.join(server, MANIFEST, lambda: np.zeros(640, np.float32)) as session:
        mine = slice(session.client.reply.slot, None, session.client.reply.slots)
        try:
            while not session.ended:
                with session.held() as replica:
                    scores = x[mine] @ replica.values.reshape(64, 10)
                likely = np.exp(scores - scores.max(1, keepdims=True))
                likely /= likely.sum(1, keepdims=True)
                gradient = x[mine].T @ (likely - wanted[mine]) / len(scores)
                session.push(encode_exact(gradient.ravel(), MANIFEST.layout.parameters), samples=len(scores))
        except RunEndedError as error:
            print(error)
        right = (x @ session.replica.values.reshape(64, 10)).argmax(1) == classes
        print(f"version {session.version}: {right.mean():.1%} of the images are right")


if __name__ == "__main__":
    main(sys.argv[1])
