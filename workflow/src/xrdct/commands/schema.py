"""``xrdct schema``: export the JSON schema of the configuration."""

import argparse
from pathlib import Path


def add_parser(subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "schema", help="export the JSON schema of the configuration", description="Export the schema for editors."
    )
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Write the schema into the repository."""
    from ..config import json_schema

    path = Path(__file__).resolve().parents[3] / "schemas" / "config.schema.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json_schema(), encoding="utf-8")
    print(f"written: {path}")
    return 0
