"""`python3 run.py bench NAME [--json FILE]`; `bench page` rewrites BENCHMARKS.md from the JSON files."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from .marks import page, publish, summary

REPOSITORY = Path(__file__).resolve().parents[4]
BENCHES = {
    "absorption": "absorption",
    "after-maps": "after_maps",
    "assembly": "assembly",
    "denoise": "denoise",
    "dlsr-paper": "dlsr_paper",
    "first-way": "first_way",
    "fit": "fit",
    "insitu": "insitu",
    "integration": "integration",
    "operando": "operando",
    "parallax": "parallax",
    "parallax-twin": "parallax_twin",
    "pqnet": "pqnet",
    "pqnet-presets": "pqnet_presets",
    "reconstruction": "reconstruction",
    "twin": "twin",
    "workflow": "workflow",
}
"""Name on the command line and module of each bench; a module has `measure()` and `DEVICE`."""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("name", choices=[*BENCHES, "page"])
    parser.add_argument("--json", type=Path, help="also write the marks to this file")
    options = parser.parse_args(argv)
    if options.name == "page":
        (REPOSITORY / "BENCHMARKS.md").write_text(current_page(), encoding="utf-8")
        return 0
    module = importlib.import_module(f".{BENCHES[options.name]}", __package__)
    found = summary(options.name, module.measure(), device=module.DEVICE)
    publish(found, options.json)
    return 0


def current_page() -> str:
    """BENCHMARKS.md as it should be now."""
    files = sorted((REPOSITORY / "tests" / "benchmarks").glob("*.json"))
    return page([json.loads(path.read_text(encoding="utf-8")) for path in files])


if __name__ == "__main__":
    sys.exit(main())
