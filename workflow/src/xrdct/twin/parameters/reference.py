"""The page that explains every key of a parameter file, written from the settings themselves.

``python -m xrdct.twin.parameters.reference`` writes it anew; a test fails when it is out of date.
"""

import json
from pathlib import Path

from .beamtime import Parameters

PAGE = Path(__file__).resolve().parent.parent / "PARAMETERS.md"
OPENING = """# Every key of a parameter file

Written by `python -m xrdct.twin.parameters.reference` from the settings in `parameters/`. A file holds one
[Parameters](#parameters), or `base: PRESET` and what is different; an unknown key is an error. How to choose values:
[README](README.md).
"""
LIMITS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def parameter_reference() -> str:
    """Markdown: one table for every section, beginning with the whole file."""
    schema = Parameters.model_json_schema()
    sections = {"Parameters": schema} | schema["$defs"]
    return OPENING + "".join(_section(name, section) for name, section in sections.items())


def _section(name: str, schema: dict) -> str:
    rows = "".join(
        f"| `{key}` | {_kind(value)} | {_default(key, value, schema)} | {_one_line(value.get('description', ''))} |\n"
        for key, value in schema["properties"].items()
    )
    heading = "| key | kind | default | meaning |\n|---|---|---|---|\n"
    return f"\n## {name}\n{_one_line(schema['description'])}\n\n{heading}{rows}"


def _default(key: str, value: dict, schema: dict) -> str:
    if key in schema.get("required", ()):
        return "must be given"
    return "its own" if "$ref" in value else f"`{json.dumps(value['default'], ensure_ascii=False)}`"


def _kind(value: dict) -> str:
    """What a value may be, with its range."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(map(_kind, value["anyOf"]))
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "prefixItems" in value:
        return "[" + ", ".join(map(_kind, value["prefixItems"])) + "]"
    if "items" in value:
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object":
        return f"name: {_kind(value['additionalProperties'])}"
    limits = [f"{sign} {value[limit]:g}" for limit, sign in LIMITS.items() if limit in value]
    return " ".join([value["type"], ", ".join(limits)]).strip()


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(parameter_reference(), encoding="utf-8")
