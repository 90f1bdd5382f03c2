"""The list of quantisers stands once: no other module of the packages asks which one it is, and the document agrees."""

import re
from pathlib import Path

import pytest

from gradwire_common.codec.format_names import format_names
from gradwire_common.codec.formats import all_formats, format_named, format_numbered
from gradwire_common.errors import UsageError
from gradwire_common.methods.quantizer_names import STORED, setting_names
from gradwire_common.methods.registry import build_method

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "common/gradwire_common",
    "server/gradwire_server",
    "worker/gradwire_worker",
    "study/gradwire_study",
    "cli/gradwire",
)
CLASSES = "Uniform|Minifloat|Float32|BFloat16|UniformFormat|MinifloatFormat|FloatFormat"
NAMES = "|".join(re.escape(form.name) for form in all_formats())
ASKING = re.compile(
    rf"isinstance\([^)]*\b({CLASSES})\b"
    rf"|type\([^)]*\) is ({CLASSES})\b"
    rf"|\b(?:is|is not|==|!=) (UNIFORM|LOSSLESS|BFLOAT16|FLOAT8_1_5_2|FLOAT8_1_4_3|FLOAT4_1_2_1)\b"
    rf"|(?:==|!=|in \(|case|\.startswith\() *[\"']({NAMES}|{STORED}|float8|float4)[\"'-]"
    rf"|\{{[\"']({NAMES}|{STORED})[\"']:"
)
DTYPES = {"common/gradwire_common/layout/dtypes.py"}  # names of tensors' types


def test_nothing_outside_of_the_formats_asks_which_quantiser_it_is():
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path in DTYPES or "/codec/formats/" in path or "/codec/kernels/" in path or "/v1/" in path:
                continue
            found += [f"{path}: {line.strip()}" for line in file.read_text().splitlines() if ASKING.search(line)]
    assert not found


def test_the_document_has_the_numbers():
    row = next(line for line in (ROOT / "docs/bitstream-format.md").read_text().splitlines() if "| kind |" in line)
    documented = {int(number): name for number, name in re.findall(r"(\d+) ([a-z][a-z0-9-]+)", row)}
    assert documented == {form.number: form.name for form in all_formats()}
    with_number = re.search(r"kinds (\d) to (\d) only", (ROOT / "docs/bitstream-format.md").read_text())
    assert with_number is not None
    low, high = map(int, with_number.groups())
    assert {form.number for form in all_formats() if form.parameter is not None} == set(range(low, high + 1))


def test_names_and_numbers_lead_to_the_format():
    for form in all_formats():
        assert format_named(form.name) is format_numbered(form.number) is form
    assert format_numbered(200) is None
    with pytest.raises(UsageError, match="'int8', want one of uniform"):
        format_named("int8")


def test_settings_name_every_format_and_raw_storage():
    assert format_names() == tuple(form.name for form in all_formats())
    methods = {name: build_method("entropy", {"quantizer": name}) for name in setting_names()}
    assert [name for name, method in methods.items() if method.stored] == [STORED]
    assert [name for name, method in methods.items() if method.exact] == ["lossless", STORED]
