"""What published methods' updates take, as their authors count and as frames, on changes that local steps made.

    python benchmarks/method_bits.py

The changes are recorded while one learner trains the text task by 30 steps of AdamW between exchanges of SparseLoCo's
updates. Every method then codes the same changes, each with a residual memory of its own; bits an entry, of all bytes
of frames, are means over the last half of the exchanges.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import build_method
from gradwire_common.settings.config import Config
from gradwire_worker.tasks import Task, load_task

F32 = npt.NDArray[np.float32]

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("sparseloco", {}),
    ("sparseloco", {"k": 32}),
    ("topk", {"density": 1 / 64, "levels": 4}),
    ("topk", {"density": 1 / 64, "levels": 4, "scope": "block"}),
    ("dgc", {}),
    ("demo", {}),
    ("demo", {"k": 8}),
    ("cocktail", {}),
    ("signsgd", {}),
    ("qsgd", {}),
    ("qsgd", {"levels": 1}),
    ("powersgd", {}),
    ("diloco", {"bits": 8}),
    ("diloco", {"bits": 4}),
    ("muloco", {}),
    ("entropy", {"bits": 0.1}),
    ("entropy", {"bits": 0.1, "means": True}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=12)
    parser.add_argument("--steps", type=int, default=30, help="between two exchanges")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", default="text-0.4m")
    parser.add_argument("--json", type=Path, help="write the table here too")
    options = parser.parse_args()

    task = load_task(Config.load(None, {"task": "text", "model": options.model}))
    layout, changes = record(task, options.exchanges, options.steps, options.batch)
    rows = [measure(layout, changes, name, given) for name, given in METHODS]
    print(f"{layout.n_parameters:,} parameters, {options.steps} local steps, {options.exchanges} exchanges")
    print(f"{'method':12} {'options':58} {'authors':>8} {'frames':>8} {'lost':>6}")
    for row in rows:
        authors = f"{row['authors']:8.4f}" if row["authors"] else f"{'':8}"
        print(f"{row['method']:12} {json.dumps(row['options']):58} {authors} {row['frames']:8.4f} {row['lost']:6.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def record(task: Task, exchanges: int, steps: int, batch: int) -> tuple[Layout, list[F32]]:
    """Train, and return the layout and what each exchange's local steps changed."""
    torch.manual_seed(0)
    model, rng = task.model(), np.random.default_rng(0)
    parameters = dict(model.named_parameters())
    layout = Layout([TensorSpec(name, tuple(each.shape)) for name, each in parameters.items()])
    optimizer = torch.optim.AdamW(parameters.values(), 1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    memory = np.zeros(layout.n_parameters, np.float32)
    encoder, changes = build_method("sparseloco", {}).encoder(layout, memory), []
    for _ in range(exchanges):
        before = flat(layout, parameters)
        for _ in range(steps):
            loss = task.loss(model, task.train_batch(rng.integers(0, task.n_train, batch), rng))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
        u = before - flat(layout, parameters)
        changes.append(u.copy())
        encoder.prepare(u)
        list(encoder.encode(u, EncodeReport()))
        new = before - (u - memory)
        for name, each in parameters.items():
            each.data.copy_(torch.from_numpy(new[layout.slots[name]].reshape(each.shape)))
    return layout, changes


def flat(layout: Layout, parameters: dict[str, torch.nn.Parameter]) -> F32:
    values = np.empty(layout.n_parameters, np.float32)
    for name, each in parameters.items():
        values[layout.slots[name]] = each.detach().numpy().reshape(-1)
    return values


def measure(layout: Layout, changes: list[F32], name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the bits an entry of the last half of updates, and the share of u's energy that they lose."""
    method = build_method(name, options)
    memory = np.zeros(layout.n_parameters, np.float32)
    encoder, bits, lost = method.encoder(layout, memory), [], []
    for change in changes:
        u = change.copy()
        encoder.prepare(u)
        energy = float(np.square(u, dtype=np.float64).sum())
        bits.append(8 * sum(map(len, encoder.encode(u, EncodeReport()))) / layout.n_parameters)
        lost.append(float(np.square(memory, dtype=np.float64).sum()) / energy)
    last = slice(len(changes) // 2, None)
    authors = getattr(method, "authors_bits", lambda _: 0.0)(layout) / layout.n_parameters
    told = {"authors": authors, "frames": float(np.mean(bits[last])), "lost": float(np.mean(lost[last]))}
    return {"method": name, "options": options, **told}


if __name__ == "__main__":
    main()
