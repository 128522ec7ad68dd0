#!/usr/bin/env python3
"""xrdct on a fresh machine: `python3 run.py demo`, `python3 run.py test`.

Needs Python 3.11 or newer with pip, nothing else. The first call makes `.venv` from the lock files (a few minutes,
about 2 GB); later calls only check a stamp.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
LOCKS = HERE / "requirements"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(argv=None) -> int:
    options, rest = parse(argv)
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what an older Python is given to run)
        sys.exit(f"xrdct needs Python 3.11 or newer, this is {sys.version.split()[0]}")
    if rest and options.command not in ("test", "bench"):
        sys.exit(f"unknown arguments: {' '.join(rest)} (try `python3 run.py --help`)")
    set_up(options.torch, with_tests=options.command in ("test", "bench"))
    return COMMANDS[options.command](options, rest)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "demo": "simulate a small beamtime, run the whole workflow on it, say where maps and report are",
        "test": "run the tests (further arguments go to pytest)",
        "bench": "measure one step's marks: `bench first-way [--json FILE]`",
        "setup": "only make the environment",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--torch", choices=["cpu", "cuda"], help="build of torch (default: what is installed, or cpu)"
        )
        if name == "demo":
            command.add_argument(
                "--cores", type=int, default=os.cpu_count(), help="processor cores to use (default: all)"
            )
    return parser.parse_known_args(argv)


def set_up(torch: str | None, *, with_tests: bool) -> None:
    """Make or complete `.venv`; nothing to do when its stamps match the lock files."""
    torch = torch or read_stamp("torch").partition(" ")[0] or "cpu"
    if not (BIN / ("python.exe" if os.name == "nt" else "python")).exists():
        say("making .venv")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    index = ["--extra-index-url", TORCH_CPU_INDEX, "--retries", "1"] if torch == "cpu" else []
    step("core", digest("core.lock"), ["-r", LOCKS / "core.lock"])
    step("torch", f"{torch} {digest('torch.lock')}", [*index, "-r", LOCKS / "torch.lock"])
    step("xrdct", digest("../pyproject.toml") + str(HERE), ["--no-deps", "--no-build-isolation", "-e", HERE])
    if with_tests:
        step("dev", digest("dev.lock"), ["-r", LOCKS / "dev.lock"])


def step(name: str, stamp: str, arguments: list) -> None:
    """Install once per stamp."""
    if read_stamp(name) == stamp:
        return
    say(f"installing {name}")
    started = time.monotonic()
    command = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if subprocess.run(list(map(str, command))).returncode:
        sys.exit(f"installing {name} failed (see above); the same command goes on where it stopped")
    (VENV / f"xrdct-{name}.stamp").write_text(stamp)
    say(f"installed {name} in {time.monotonic() - started:.0f} s")


def read_stamp(name: str) -> str:
    path = VENV / f"xrdct-{name}.stamp"
    return path.read_text() if path.exists() else ""


def digest(name: str) -> str:
    content = (LOCKS / name).read_bytes() + repr(sys.version_info[:2]).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def demo(options, _rest) -> int:
    """Raw files, workflow, report, all under demo/."""
    folder = HERE / "demo"
    snakemake = [
        *[BIN / "snakemake", "--snakefile", HERE / "Snakefile", "--directory", folder],
        *["--configfile", HERE / "config" / "demo" / "config.yaml", "--cores", str(options.cores)],
    ]
    say("simulating the demo beamtime")
    call([BIN / "xrdct", "simulate", "demo", "--out", folder, "--workers", str(options.cores)])
    say("running the workflow")
    call(snakemake)
    call([*snakemake, "--report", folder / "report.html", "--quiet"])
    print(
        f"\nThe demo beamtime is done.\n"
        f"  maps     {folder}/results/<scan>/windows/maps.zarr\n"
        f"  volumes  {folder}/results/<scan>/reconstruct/first/volume.zarr\n"
        f"  figures  {folder}/results/figures/overview.png and {folder}/results/<scan>/figures/\n"
        f"  report   {folder}/report.html\n"
        f"  truth    {folder}/truth/"
    )
    return 0


def test(_options, rest) -> int:
    """Two workers; a file's tests stay with one of them, in the order of tests/conftest.py."""
    workers = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    return subprocess.run(
        [str(BIN / "python"), "-m", "pytest", *workers, *rest], cwd=HERE, env=environment()
    ).returncode


def bench(_options, rest) -> int:
    return subprocess.run([str(BIN / "python"), "-m", "xrdct.bench", *rest], cwd=HERE, env=environment()).returncode


def call(command: list) -> None:
    done = subprocess.run(list(map(str, command)), cwd=HERE, env=environment())
    if done.returncode:
        sys.exit(done.returncode)


def environment() -> dict:
    """The virtual environment first on the path; one thread per library, since the workflow runs jobs side by side."""
    threads = {
        name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    return os.environ | threads | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(VENV)}


def say(text: str) -> None:
    print(f"[xrdct] {text}", flush=True)


COMMANDS = {"demo": demo, "test": test, "bench": bench, "setup": lambda _options, _rest: 0}

if __name__ == "__main__":
    sys.exit(main())
