"""What the study leaves: distortion.json, .csv, .png, and a page that holds the picture and explains it."""

import base64
import csv
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gradwire_study.distortion.bound import Point, normal_bound

OURS = "entropy (GenNorm)"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Distortion of one update</title>
<style>body {{ font: 16px sans-serif; max-width: 60em; margin: 2em auto }} img {{ width: 100% }}
td, th {{ padding: 0 1em; text-align: right }} td:first-child, th:first-child {{ text-align: left }}</style>
<h1>Distortion of one update</h1>
<p>{source}</p>
<p>Each point is one method at one rate. To the right are the bits an entry that its frames take, every byte of them
counted; upwards the normalised mean squared error, |g - decoded|<sup>2</sup> / |g|<sup>2</sup>: lower and further left
is better. No method has a residual memory here; methods that are unbiased by design pay for it in squared error.</p>
<p>The solid black line is the rate-distortion bound of independent entries of the GenNorm distribution fitted to each
tensor. A method can lie below it only where entries are not as that model has them. The dotted line is the bound of
normal entries of one variance, which methods that rotate entries into normal ones cannot pass.</p>
<img alt="NMSE against bits an entry" src="data:image/png;base64,{picture}">
<table><tr><th>method<th>bits an entry<th>NMSE</tr>
{rows}</table></html>
"""


def write_report(methods: Mapping[str, Sequence[Point]], bound: Sequence[Point], source: str, folder: Path) -> None:
    """Write the four files to `folder`. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"source": source, "methods": methods, "gennorm_bound": bound}
    (folder / "distortion.json").write_text(json.dumps(told, indent=1) + "\n")
    points = [(name, bits, nmse) for name, found in methods.items() for bits, nmse in found]
    with (folder / "distortion.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("method", "bits", "nmse"), *points])
    picture = folder / "distortion.png"
    _plot(methods, bound, picture)
    rows = "".join(f"<tr><td>{html.escape(name)}<td>{bits:.3f}<td>{nmse:.4f}</tr>\n" for name, bits, nmse in points)
    encoded = base64.b64encode(picture.read_bytes()).decode()
    (folder / "distortion.html").write_text(PAGE.format(source=html.escape(source), picture=encoded, rows=rows))


def _plot(methods: Mapping[str, Sequence[Point]], bound: Sequence[Point], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    figure, axis = plt.subplots(figsize=(10, 6.5), layout="constrained")
    colours, markers = plt.get_cmap("tab10"), "os^vDPX"
    for number, (name, found) in enumerate(methods.items()):
        shown = [point for point in found if point[1] > 0]
        if shown:
            width, colour = (2.5, "tab:red") if name == OURS else (1.0, colours(number % 10))
            axis.plot(*zip(*shown, strict=True), markers[number % 7] + "-", color=colour, linewidth=width, label=name)
    if bound:
        axis.plot(*zip(*bound, strict=True), "k-", linewidth=1.5, label="bound of the fitted GenNorm")
    bits = np.linspace(0.02, 4, 60)
    axis.plot(bits, [normal_bound(each) for each in bits], "k:", label="bound of normal entries")
    axis.set(xscale="log", yscale="log", xlabel="bits an entry, bytes of frames", ylabel="NMSE", ylim=(2e-3, 4))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    plt.close(figure)
