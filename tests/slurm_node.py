"""A SLURM of one node on this machine, with pretend GPUs, for tests of the profile.

It needs root and Debian's packages: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
slurm-wlm-basic-plugins. It writes /etc/slurm/*.conf, since jobs of Snakemake's plugin see no other place, and only
where there is none or its own: a machine of a real cluster is left alone.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# Written by the tests of xrdct."
DAEMONS = ("munged", "slurmctld", "slurmd")
N_GPUS = 2
NODES = ("sinfo", "-h", "-o", "%T")
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")


def missing() -> str | None:
    """Why a SLURM cannot be started here; None when it can."""
    lacking = [name for name in (*DAEMONS, "sbatch") if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    if lacking:
        return f"no {', '.join(lacking)} on this machine"
    if os.geteuid() != 0:
        return "starting a SLURM needs root"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is not of these tests: a real cluster's machine is left alone"
    return None


def start(folder: Path) -> None:
    """Start the daemons with all their files below `folder`, and wait until the node is idle.

    RuntimeError with what they said if they do not come up.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for k in range(N_GPUS):
        # Only a character device makes SLURM set CUDA_VISIBLE_DEVICES: copies of /dev/null.
        os.mknod(folder / f"nvidia{k}", 0o20666, os.makedev(1, 3))
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(_configuration(folder))
    host = socket.gethostname()
    (ETC / "gres.conf").write_text(f"NodeName={host} Name=gpu Type=fake File={folder}/nvidia[0-{N_GPUS - 1}]\n")
    (ETC / "cgroup.conf").write_text("CgroupAutomount=no\n")
    _start_munge()
    _run("/usr/sbin/slurmctld", "-c")
    _run("/usr/sbin/slurmd")
    for _ in range(60):
        if "idle" in subprocess.run(["timeout", "5", *NODES], capture_output=True, text=True).stdout:
            return
        time.sleep(0.5)
    raise RuntimeError((folder / "slurmctld.log").read_text()[-2000:])


def stop(folder: Path) -> None:
    """End the daemons of `folder`, with what still runs in them; munged stays."""
    subprocess.run(["timeout", "20", "scancel", "--user", "root"], capture_output=True)
    for name in ("slurmd", "slurmctld"):
        pid = folder / f"{name}.pid"
        if pid.exists():
            with suppress(ProcessLookupError):  # it may have died on its own
                os.kill(int(pid.read_text()), 15)


def _start_munge():
    """A munged that answers: the socket of one that was killed stays behind, so asking it is the only test."""
    if subprocess.run(["timeout", "10", "munge", "-n"], capture_output=True).returncode == 0:
        return
    MUNGE_SOCKET.parent.mkdir(exist_ok=True)
    for left in MUNGE_SOCKET.parent.glob("munge*"):
        left.unlink()
    shutil.chown(MUNGE_SOCKET.parent, "munge", "munge")
    _run("setpriv", "--reuid=munge", "--regid=munge", "--init-groups", "/usr/sbin/munged")


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def _configuration(folder):
    host = socket.gethostname()
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.9)
    node = f"CPUs={os.cpu_count()} RealMemory={memory} Gres=gpu:fake:{N_GPUS}"
    lines = f"""{MARK}
        ClusterName=xrdct
        SlurmctldHost={host}(127.0.0.1)
        SlurmUser=root
        SlurmdUser=root
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
        JobAcctGatherType=jobacct_gather/none
        MinJobAge=300
        KillWait=5
        DefMemPerCPU=512
        GresTypes=gpu
        NodeName={host} NodeAddr=127.0.0.1 {node} State=UNKNOWN
        PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 State=UP
        PartitionName=gpu Nodes={host} MaxTime=1-00:00:00 State=UP
        """
    return "\n".join(line.strip() for line in lines.splitlines()) + "\n"
