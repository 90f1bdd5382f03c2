"""`gradwire inspect`: a table and a picture of what the codec makes of every tensor of a file."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradwire.views.console import open_console
from gradwire.views.inspected import Inspected, inspect_tensors
from gradwire_common.errors import DataError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.methods.method import Method

F32 = npt.NDArray[np.float32]

WIDEST = 10_000  # columns; wider than any table

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # names of safetensors; BF16 is widened by hand


def inspect_file(file: Path, method: Method, plot: Path) -> None:
    """Print a table of every floating-point tensor of `file` and draw a picture of it.

    Raises:
        UsageError: if the file cannot be read, or `plot` not be written.
        DataError: if it is no safetensors file, or a tensor has entries that are not finite.
    """
    from gradwire.views.inspection_plot import draw_inspection

    console = open_console()
    tensors, passed_over = read_tensors(file)
    if not tensors:
        raise DataError(f"{file}: got no floating-point tensor with entries, want at least one")
    with console.status("fitting and encoding"):
        inspected = list(inspect_tensors(tensors, method))
    console.print(inspection_view(file.name, inspected, method, console))
    if passed_over:
        console.print(f"passed over, being whole numbers or empty: {', '.join(map(printable, passed_over))}")
    try:
        draw_inspection(plot, inspected)
    except OSError as error:
        raise UsageError(f"{plot}: {error.strerror}; want a file that can be written") from None
    console.print(f"picture: {plot}", soft_wrap=True)


def read_tensors(file: Path) -> tuple[dict[str, F32], list[str]]:
    """Return the floating-point tensors of a safetensors file as float32, and the names of the others.

    Raises:
        UsageError: if the file cannot be read.
        DataError: if it is no safetensors file.
    """
    try:
        entries = safetensors.deserialize(file.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; want a readable safetensors file") from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{file}: no safetensors file: {error}") from None
    tensors, passed_over = {}, []
    for name, entry in sorted(entries):
        values = _as_float32(entry["dtype"], entry["data"])
        if values is None or not values.size:
            passed_over.append(name)
        else:
            tensors[name] = values.reshape(entry["shape"])
    return tensors, passed_over


def inspection_view(title: str, inspected: list[Inspected], method: Method, console: Console) -> RenderableType:
    """Return the tensors as a table where it fits `console`, otherwise as a list."""
    table = inspection_table(title, inspected, method)
    if Measurement.get(console, console.options.update(width=WIDEST), table).maximum <= console.width:
        return table
    sizes, power = _weights(inspected)
    parts: list[RenderableType] = [Text(f"{printable(title)}, {method}", "bold")]
    groups = [(printable(each.name), [each]) for each in inspected]
    for name, each in [*groups, ("all", inspected)] if len(inspected) > 1 else groups:
        told = [f"{sum(one.values.size for one in each):,} entries"]
        if each is not inspected:
            told.append(f"beta {each[0].model.beta:.3f}, alpha {each[0].model.alpha:.3g}")
        for kind, weights in (("bits", sizes), ("NMSE", power)):
            own = weights if each is inspected else np.ones(1)
            predicted, achieved = (
                _FORMS[kind](_mean([getattr(one, prefix + kind.lower()) for one in each], own))
                for prefix in ("predicted_", "")
            )
            told.append(f"{kind} {predicted} predicted, {achieved} achieved")
        parts += [Text(name), Padding(Text("; ".join(told), "dim"), (0, 0, 0, 2))]
    return Group(*parts)


def _weights(inspected: list[Inspected]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return what the bits and the NMSE of each tensor weigh in the mean of all: its entries, its power."""
    sizes = np.array([each.values.size for each in inspected])
    return sizes, np.array([float(np.square(each.values, dtype=np.float64).sum()) for each in inspected])


def inspection_table(title: str, inspected: list[Inspected], method: Method) -> Table:
    """Return one row a tensor and one for all."""
    table = Table(
        title=f"{printable(title)}, {method}",
        title_justify="left",
        header_style="bold",
        show_footer=len(inspected) > 1,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    sizes, power = _weights(inspected)
    table.add_column("tensor", "all", overflow="fold")
    table.add_column("entries", f"{sizes.sum():,}", justify="right", no_wrap=True)
    table.add_column("beta", justify="right", no_wrap=True)
    table.add_column("alpha", justify="right", no_wrap=True)
    for name, weights in (("bits", sizes), ("NMSE", power)):
        attribute, form = name.lower(), _FORMS[name]
        for kind, prefix in (("predicted", "predicted_"), ("achieved", "")):
            values = [getattr(each, prefix + attribute) for each in inspected]
            table.add_column(f"{name}\n{kind}", form(_mean(values, weights)), justify="right", no_wrap=True)
    for each in inspected:
        table.add_row(
            printable(each.name),
            f"{each.values.size:,}",
            f"{each.model.beta:.3f}",
            f"{each.model.alpha:.3g}",
            _bits(each.predicted_bits),
            _bits(each.bits),
            _nmse(each.predicted_nmse),
            _nmse(each.nmse),
        )
    return table


def _as_float32(dtype: str, data: bytes) -> F32 | None:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype in _DTYPES:
        with np.errstate(over="ignore"):
            return np.frombuffer(data, _DTYPES[dtype]).astype(np.float32)
    return None


def _mean(values: list[float | None], weights: npt.NDArray[Any]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not weights.sum():
        return None
    return float(np.average(np.array(known), weights=weights))


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _nmse(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


_FORMS = {"bits": _bits, "NMSE": _nmse}
