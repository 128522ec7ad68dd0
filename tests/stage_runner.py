"""Runs scripts of stages in processes of their own, which kill themselves (SIGKILL) at a given moment if so told.

`python stage_runner.py` reads a list of calls as JSON from its standard input: script, arguments of its `main`, and
the moment of death: the n-th time that the process opens, or renames a file to, a path that ends with a text. Python
tells of both through its audit events, so that nothing of the code under test is replaced. Scripts are imported once
and every call is a fork of that: what takes seconds to import takes them once.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def run_stages(calls):
    """Run calls one after another; the exit code of each, -9 for one that was killed, and all that was printed."""
    paths = [REPOSITORY / "workflow" / "src", REPOSITORY / "workflow" / "scripts"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(calls, default=str),
        capture_output=True,
        text=True,
        env=environment | {"NUMBA_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def main():
    calls = json.load(sys.stdin)
    modules = {call["script"]: importlib.import_module(call["script"]) for call in calls}
    for late in ("torch._dynamo", "matplotlib.backends.backend_agg"):  # what the scripts import on their way
        importlib.import_module(late)
    codes = []
    for call in calls:
        child = os.fork()
        if child == 0:
            run(modules[call["script"]], call)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(codes))


def run(module, call):
    """In the child: the script's main, to its end or to the moment of death."""
    if "dies" in call:
        sys.addaudithook(Death(*call["dies"]))
    try:
        module.main(*call["args"], **call["options"])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class Death:
    """Kills this process when a path that holds a text was opened, or renamed to, for the n-th time."""

    def __init__(self, event, text, n):
        self.event, self.text, self.left = event, text, n

    def __call__(self, event, arguments):
        if event != self.event:
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        if isinstance(path, str | os.PathLike) and self.text in str(path):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
