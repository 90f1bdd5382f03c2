"""Methods by name. Both ends of a run build the same one from its name and options."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradwire_common.errors import ConfigError
from gradwire_common.methods.entropy_options import EntropyOptions
from gradwire_common.methods.quantizer_names import STORED
from gradwire_common.registry import Registry

if TYPE_CHECKING:  # settings load neither numpy nor kernels
    from gradwire_common.methods.method import Method

DEFAULT = "entropy"


@dataclass(frozen=True, slots=True)
class MethodFactory:
    """How a method is built.

    Attributes:
        build: returns the method of some options, which it checks: its ConfigError names what is wrong.
        settings: the coding settings, such as "bits" or "gamma", that are options of the method.
    """

    build: "Callable[[Mapping[str, Any]], Method]"
    settings: frozenset[str] = frozenset()


def build_method(name: str, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> "Method":
    """Return the method called `name`.

    Args:
        name: that it was registered by.
        options: its own.
        settings: coding settings that all methods share; those that are options of this one count.

    Raises:
        ConfigError: an unknown name or option, or a value that cannot be.
    """
    factory = METHODS.find(name)
    shared = {key: value for key, value in (settings or {}).items() if key in factory.settings}
    return factory.build({**shared, **options})


def override_method(base: "Method", overrides: Mapping[str, Any]) -> "Method":
    """Return `base` with some options replaced; `method` among them names another one, with options of its own.

    Raises:
        ConfigError: as `build_method`.
    """
    name = str(overrides.get("method", base.name))
    changes = {key: value for key, value in overrides.items() if key != "method"}
    if not changes and name == base.name:
        return base
    return build_method(name, {**(base.options if name == base.name else {}), **changes})


def _build_entropy(options: Mapping[str, Any]) -> "Method":
    if options.get("quantizer") != STORED:
        from gradwire_common.methods.centred import CentredEntropy
        from gradwire_common.methods.entropy import Entropy

        return (CentredEntropy if options.get("means") else Entropy).from_options(options)
    if options.get("transform", "none") != "none":
        raise ConfigError(
            f"transform: got {options['transform']!r} with quantizer {STORED}, which sends entries as they are; want "
            "none, or quantizer lossless"
        )
    return _build_raw({})


def _build_raw(options: Mapping[str, Any]) -> "Method":
    from gradwire_common.methods.raw import Raw

    return Raw.from_options(options)


def _published(module: str, kind: str, settings: Collection[str] = ("gamma",)) -> MethodFactory:
    """Return the factory of the class `kind` of a module here, which is imported once it is wanted."""

    def build(options: Mapping[str, Any]) -> "Method":
        found = getattr(import_module(f"gradwire_common.methods.{module}"), kind)
        method: Method = found.from_options(options)
        return method

    return MethodFactory(build, frozenset(settings))


METHODS = Registry(
    "method",
    {
        DEFAULT: MethodFactory(_build_entropy, frozenset(EntropyOptions.model_fields)),
        "raw": MethodFactory(_build_raw),
        "topk": _published("topk", "TopK"),
        "sparseloco": _published("sparseloco", "SparseLoCo"),
        "signsgd": _published("signsgd", "SignSgd"),
        "qsgd": _published("qsgd", "Qsgd"),
        "dgc": _published("dgc", "Dgc"),
        "powersgd": _published("powersgd", "PowerSgd"),
        "demo": _published("demo", "DeMo"),
        "cocktail": _published("cocktail", "Cocktail"),
        "diloco": _published("diloco", "DiLoCo", ("gamma", "bits")),
        "muloco": _published("diloco", "MuLoCo", ("gamma", "bits")),
        "eden": _published("eden", "Eden", ("gamma", "bits")),
        "co3": _published("co3", "Co3"),
        "m22": _published("m22", "M22", ("gamma", "bits")),
        "onebit": _published("m22", "OneBit"),
        "tinyscript": _published("tinyscript", "TinyScript", ("gamma", "bits")),
        "countsketch": _published("sketch", "CountSketch"),
        "tcq": _published("tcq", "TrellisCoded"),
    },
)
