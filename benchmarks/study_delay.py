"""What gradients of weights one version old do to accuracy, by momentum: digits, a perceptron, two workers at 2 bits.

    python benchmarks/study_delay.py --seeds 3 --rounds 150 --json FILE

Each arm is a server process and two workers, threads of this process: the mean accuracy on the last 397 images over the
seeds, and its range.
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from gradwire import InStep, RemoteOptimizer, SessionOptions
from gradwire_common.settings.config import Config
from gradwire_common.warming import warm_kernels
from round_systems import first_line, process

ARMS = ((0, 0.9), (1, 0.9), (1, 0.5), (1, 0.0))  # delay and the server's momentum
TRAINED = 1400  # images; the others are for testing
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description="accuracy with a delay, by momentum")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to n - 1")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    warm_kernels()
    torch.set_num_threads(1)
    rows = []
    for delay, momentum in ARMS:
        found = [accuracy(delay, momentum, options.lr, options.rounds, seed) for seed in range(options.seeds)]
        rows.append({"delay": delay, "momentum": momentum, "lr": options.lr, "accuracies": found})
        mean = sum(found) / len(found)
        print(f"delay {delay}, momentum {momentum}: {mean:.3f} ({min(found):.3f} to {max(found):.3f})", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def accuracy(delay: int, momentum: float, lr: float, rounds: int, seed: int) -> float:
    """Train; return the part of the test images that is classified right."""
    digits = load_digits()
    samples, classes = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target)
    models = []
    for _ in range(2):
        torch.manual_seed(seed)
        models.append(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)))
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            runs=Path(folder),
            listen="127.0.0.1:0",
            log_level="error",
            workers=2,
            rounds=rounds,
            evaluate_every=0,
            checkpoint_every=0,
            quantizer="uniform",
            bits=2.0,
            lr=lr,
            optimizer_options={"momentum": momentum},
        )
        file = Path(folder) / "server.toml"
        file.write_text(config.to_toml())
        with process(sys.executable, "-m", "gradwire", "server", "--config", str(file)) as server:
            address = first_line(server).split()[-1]

            def work(slot: int) -> None:
                generator = torch.Generator().manual_seed(100 * seed + slot)
                session = SessionOptions(slot=slot)
                with RemoteOptimizer(models[slot], address, source=InStep(delay), session=session) as optimizer:
                    while not optimizer.ended:
                        chosen = torch.randint(0, TRAINED, (BATCH,), generator=generator)
                        optimizer.zero_grad()
                        loss = torch.nn.functional.cross_entropy(models[slot](samples[chosen]), classes[chosen])
                        loss.backward()
                        optimizer.step(samples=BATCH, loss=loss)

            with ThreadPoolExecutor() as threads:
                list(threads.map(work, range(2)))
    with torch.no_grad():
        found = models[0](samples[TRAINED:]).argmax(1)
    return float((found == classes[TRAINED:]).float().mean())


if __name__ == "__main__":
    main()
