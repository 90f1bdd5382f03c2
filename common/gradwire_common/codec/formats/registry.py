"""The formats by name and by number, listed in one place; `codec/format_names.py` has the names alone."""

from gradwire_common.codec.format_names import add_name, format_names
from gradwire_common.codec.formats.exact import BFLOAT16, LOSSLESS
from gradwire_common.codec.formats.format import Format, Quantizer
from gradwire_common.codec.formats.minifloat import MINIFLOATS
from gradwire_common.codec.formats.uniform import UNIFORM
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import fit_of_model
from gradwire_common.errors import UsageError

MAX_NUMBER = 255  # a byte of the header

_by_name: dict[str, Format] = {}
_by_number: dict[int, Format] = {}


def register(format: Format) -> None:  # noqa: A002
    """Make a format known by its name to settings and by its number to frames. Both ends of a run must do so.

    Raises:
        UsageError: another format has the name or the number, or the number does not fit in a byte.
    """
    if not 0 <= format.number <= MAX_NUMBER:
        raise UsageError(f"format {format.name} has number {format.number}, want 0 to {MAX_NUMBER}")
    for have in (_by_name.get(format.name, format), _by_number.get(format.number, format)):
        if have is not format:
            raise UsageError(
                f"format {format.name} with number {format.number} is like {have.name} with number {have.number}; "
                "want a name and a number of its own"
            )
    _by_name[format.name] = _by_number[format.number] = format
    add_name(format.name)


def all_formats() -> tuple[Format, ...]:
    """Return the formats in the order in which they were registered."""
    return tuple(_by_name.values())


def format_named(name: str) -> Format:
    """Return the format called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in _by_name:
        raise UsageError(f"quantiser is {name!r}, want one of {', '.join(_by_name)}")
    return _by_name[name]


def format_numbered(number: int) -> Format | None:
    """Return the format with the header number `number`, None where there is none."""
    return _by_number.get(number)


def build_quantizer(name: str, model: GenNorm | None = None, step: float | None = None) -> Quantizer:
    """Return a quantiser of the format called `name`.

    Args:
        name: Name of the format.
        model: Fit of the entries, where the format's parameter follows from it.
        step: Step size in gradient units, where the format has one; clipped to what float32 allows.

    Raises:
        UsageError: Unknown name, or the model or step that the format needs is missing.
    """
    format = format_named(name)  # noqa: A001
    if format.parameter is None:
        return format.build()
    if format.takes_bits:
        if step is None:
            raise UsageError(f"quantiser {name} needs a step size, got none")
        return format.build(format.parameter.nearest(step))
    if model is None:
        raise UsageError(f"quantiser {name} needs a fitted model, got none")
    return format.choose(fit_of_model(model), 0.0)


for _format in (UNIFORM, *MINIFLOATS, BFLOAT16, LOSSLESS):
    register(_format)
if tuple(_by_name) != format_names():
    raise ImportError(f"formats are {', '.join(_by_name)}, but named {', '.join(format_names())}")
