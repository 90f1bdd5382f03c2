"""The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

import numpy as np

from gradwire_common.settings.config import Config
from gradwire_worker.models.registry import model_builder
from gradwire_worker.tasks.classification import Classification

N_TEST = 360
SPLIT_SEED = 1797  # the test part is the same in every run
LARGEST_PIXEL = 16.0


def digits(config: Config) -> Classification:
    """Return the task."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    x = (images[order] / LARGEST_PIXEL).astype(np.float32).reshape(-1, 1, 8, 8)
    y = classes[order].astype(np.int64)
    return Classification(
        name="digits",
        description=f"{len(x) - N_TEST:,} training and {N_TEST} test images of handwritten digits",
        build_model=model_builder(config.model, default="cnn", shape=(1, 8, 8), classes=10),
        x_train=x[N_TEST:],
        y_train=y[N_TEST:],
        x_test=x[:N_TEST],
        y_test=y[:N_TEST],
    )
