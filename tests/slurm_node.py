"""A SLURM of one node on this machine, with pretend GPUs and pretend cores, for tests of the profile.

It needs root and Debian's packages: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
slurm-wlm-basic-plugins. It writes /etc/slurm/*.conf, since jobs of Snakemake's plugin see no other place, and only
where there is none or its own: a machine of a real cluster is left alone. Without a controller that answers, every
start of Snakemake with the plugin would wait nine seconds for it: what was written goes when the SLURM stops.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

ETC = Path("/etc/slurm")
MARK = "# Written by the tests of xrdct."
LOCK = FileLock("/tmp/xrdct-slurm.lock")
"""Of the one test run that has the machine's SLURM; freed by the system when its process ends, however it ends."""
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("munge", "sbatch", "srun", "squeue", "scontrol", "scancel")
N_GPUS = 4
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")


class CannotStart(Exception):
    """Why there is no SLURM: says nothing about what was to be tested with it."""


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """A SLURM whose files are all in `folder`, and which has run a job on a GPU; CannotStart where there is none."""
    if reason := missing():
        raise CannotStart(reason)
    with _locked():
        try:
            _start(folder)
            yield
        finally:
            _stop(folder)


def missing() -> str | None:
    """Why a SLURM cannot be started here; None when it may."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    lacking = [name for name in (*DAEMONS, *COMMANDS) if not shutil.which(name, path=path)]
    if lacking:
        return f"no {', '.join(lacking)} on this machine"
    if os.geteuid() != 0:
        return "starting a SLURM needs root"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is not of these tests: a real cluster's machine is left alone"
    return None


def remove_left_over() -> None:
    """Take away what a killed test run left behind, daemons and configuration, unless another run is using it."""
    with suppress(CannotStart, OSError), _locked():
        _end_daemons()


@contextmanager
def _locked():
    try:
        LOCK.acquire(timeout=0)
    except Timeout:
        raise CannotStart("another test run has this machine's SLURM") from None
    try:
        yield
    finally:
        LOCK.release()


def _start(folder):
    try:
        _end_daemons()
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        for k in range(N_GPUS):
            # Only a character device makes SLURM set CUDA_VISIBLE_DEVICES: copies of /dev/null.
            os.mknod(folder / f"nvidia{k}", 0o20666, os.makedev(1, 3))
        _write_configuration(folder)
        _start_munge(folder)
        _run(folder, "/usr/sbin/slurmctld", "-c")
        _run(folder, "/usr/sbin/slurmd")
        # The node is up when it runs something: what else is half installed shows here and not in a test.
        _run(folder, "srun", "--partition", "gpu", "--gpus", "1", "--immediate=30", "true")
        _run(folder, "scontrol", "show", "config")
        if f"StateSaveLocation       = {folder}/state" not in (folder / "commands.log").read_text():
            raise OSError("another SLURM answers on this machine")
    except (OSError, LookupError, subprocess.SubprocessError) as error:
        logs = [path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*.log"))]
        raise CannotStart("\n".join([f"no SLURM: {error}", *logs])) from None


def _stop(folder):
    """End the daemons of `folder`, with what still runs in them; munged stays."""
    with suppress(OSError, subprocess.SubprocessError):
        _run(folder, "scancel", "--user", "root")
    _end_daemons()


def _end_daemons():
    """End what the configuration of these tests says is running, and take the configuration away."""
    conf = ETC / "slurm.conf"
    text = conf.read_text() if conf.exists() else ""
    if text.startswith(MARK):
        for file in re.findall(r"PidFile=(.*)", text):
            with suppress(OSError, ValueError):  # it never came up, or died on its own
                _end(int(Path(file).read_text()), Path(file).stem)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        path = ETC / name
        if path.exists() and path.read_text().startswith(MARK):
            path.unlink()


def _end(process, name):
    for patience, signal in ((50, 15), (10, 9)):
        for _ in range(patience):
            # The number may be another program's by now.
            if Path(f"/proc/{process}/comm").read_text().strip() != name:
                return
            os.kill(process, signal)
            time.sleep(0.1)


def _start_munge(folder):
    """A munged that answers: the socket of one that was killed stays behind, so asking it is the only test."""
    with suppress(subprocess.SubprocessError):
        _run(folder, "munge", "-n")
        return
    MUNGE_SOCKET.parent.mkdir(exist_ok=True)
    for left in MUNGE_SOCKET.parent.glob("munge*"):
        left.unlink()
    shutil.chown(MUNGE_SOCKET.parent, "munge", "munge")
    _run(folder, "setpriv", "--reuid=munge", "--regid=munge", "--init-groups", "/usr/sbin/munged")


def _run(folder, *command):
    # Into a file: a daemon that keeps a pipe open would never let go of its reader.
    with open(folder / "commands.log", "a") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=40)


def _write_configuration(folder):
    ETC.mkdir(exist_ok=True)
    host = socket.gethostname()
    (ETC / "gres.conf").write_text(f"{MARK}\nNodeName={host} Name=gpu Type=fake File={folder}/nvidia[0-{N_GPUS - 1}]\n")
    (ETC / "cgroup.conf").write_text(f"{MARK}\nCgroupAutomount=no\n")
    (ETC / "slurm.conf").write_text(_configuration(folder))


def _configuration(folder):
    host = socket.gethostname()
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.9)
    # More cores than there are: while one job waits for Snakemake's polls or the disk, others compute.
    node = f"CPUs={3 * os.cpu_count()} RealMemory={memory} Gres=gpu:fake:{N_GPUS}"
    # Jobs over their memory are killed by what polls them every second; there are no cgroups in a container.
    lines = f"""{MARK}
        ClusterName=xrdct
        SlurmctldHost={host}(127.0.0.1)
        SlurmUser=root
        SlurmdUser=root
        SlurmdParameters=config_overrides
        AuthType=auth/munge
        StateSaveLocation={folder}/state
        SlurmdSpoolDir={folder}/spool
        SlurmctldPidFile={folder}/slurmctld.pid
        SlurmdPidFile={folder}/slurmd.pid
        SlurmctldLogFile={folder}/slurmctld.log
        SlurmdLogFile={folder}/slurmd.log
        ProctrackType=proctrack/linuxproc
        TaskPlugin=task/none
        MpiDefault=none
        ReturnToService=2
        SelectType=select/cons_tres
        SelectTypeParameters=CR_CPU_Memory
        SchedulerParameters=sched_interval=2,bf_interval=2
        AccountingStorageType=accounting_storage/none
        JobAcctGatherType=jobacct_gather/linux
        JobAcctGatherFrequency=task=1
        JobAcctGatherParams=OverMemoryKill
        MinJobAge=7200
        KillWait=5
        DefMemPerCPU=512
        GresTypes=gpu
        NodeName={host} NodeAddr=127.0.0.1 {node} State=UNKNOWN
        PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 State=UP
        PartitionName=gpu Nodes={host} MaxTime=1-00:00:00 State=UP
        """
    return "\n".join(line.strip() for line in lines.splitlines()) + "\n"
