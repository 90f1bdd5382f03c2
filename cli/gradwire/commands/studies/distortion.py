"""`gradwire study distortion`: the error of one update against the bytes of its frames."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(distortion)


def distortion(
    gradients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="recorded gradient: a .npz or .safetensors file; else one is made"),
    ] = None,
    network: Annotated[
        str, typer.Option(help="trained for a gradient: digits, resnet20, text-0.4m, text-3m")
    ] = "digits",
    steps: Annotated[int, typer.Option(min=0, metavar="INT", help="of training before the gradient is taken")] = 60,
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="CIFAR-10, for resnet20")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of distortion.json, .csv, .png and .html")] = Path(
        "runs/studies"
    ),
) -> None:
    """Set the squared error of every method beside the bits that its frames take, on one gradient."""
    from gradwire_study.distortion.bound import gennorm_bound
    from gradwire_study.distortion.measure import measure_all
    from gradwire_study.distortion.report import write_report
    from gradwire_study.gradients import load_gradient, record_gradient

    gradient = load_gradient(gradients) if gradients else record_gradient(network, steps, data)
    entries = sum(tensor.size for tensor in gradient.values())
    source = gradients.name if gradients else f"{network}, one mini-batch after {steps} steps"
    source = f"{source}: {entries:,} entries in {len(gradient)} tensors"
    print(source, flush=True)
    methods = measure_all(gradient, lambda name: print(f"  {name}", flush=True))
    bound = gennorm_bound([tensor.reshape(-1) for tensor in gradient.values()])
    write_report(methods, bound, source, out)
    print(f"{out / 'distortion.html'}: figure and table")
