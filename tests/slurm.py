"""Run the README's recipes for Slurm on a Slurm of one node, which is set up here.

    apt-get install slurm-wlm munge
    python -m pip install dask-jobqueue
    python tests/slurm.py

This wants root and Linux. Everything is in a temporary directory, and is ended and
removed afterwards. The exit code is 0 if each task ran once, whatever was cancelled.
"""

import os
import re
import socket
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

from conftest import wait_for
from test_engines import NUMBERS, Site

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerParameters=sched_interval=1
NodeName={host} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
SQUARES = [(number, number**2) for number in NUMBERS]


class Slurm(Site):
    def __init__(self, directory):
        super().__init__(directory)
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self.environment["SLURM_CONF"] = str(directory / "slurm.conf")
        self.environment["DASK_JOBQUEUE__SLURM__INTERFACE"] = "lo"

    def set_up(self):
        host = socket.gethostname().partition(".")[0]
        with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as two:
            ports = [server.getsockname()[1] for server in (one, two)]
        text = CONFIGURATION.format(host=host, ports=ports, directory=self.directory)
        (self.directory / "slurm.conf").write_text(text)
        (self.directory / "state").mkdir()
        (self.directory / "spool").mkdir()
        key = self.directory / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        prefix, kinds = f"{self.directory}/munge", ("key", "log", "pid", "seed")
        options = " ".join(f"--{kind}-file={prefix}.{kind}" for kind in kinds)
        self.start(
            f"exec munged --foreground --force --socket={prefix}.socket {options}"
        )
        wait_for((self.directory / "munge.socket").exists)
        self.start("exec slurmctld -D")
        self.start("exec slurmd -D")
        wait_for(lambda: "idle" in self.run("sinfo -h -o %T", check=False))

    def wait_for_jobs(self):
        wait_for(lambda: not self.run("squeue -h").strip(), seconds=120)


def rows(text):
    """The numbers in all lines that begin with one; the lines may be in any order."""
    return sorted(
        tuple(map(int, row.split())) for row in re.findall(r"(?m)^\d.*", text)
    )


@contextmanager
def slurm():
    """A Slurm of its own for each recipe; if that fails, tell what it has printed."""
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(Slurm(Path(directory))) as cluster,
    ):
        try:
            cluster.set_up()
            cluster.follow("More than one computer")
            yield cluster
        except BaseException:
            for pattern in "output", "munge.log", "slurm-*.out":
                for log in cluster.directory.glob(pattern):
                    print(log.read_text()[-3000:], file=sys.stderr)
            raise


def arrays(cluster):
    """What submits an array, and what lets one wait for a job that schedules."""
    text = "\n".join(cluster.follow("Arrays of jobs"))
    array, job, schedule = text.partition("job=")
    return array, job + schedule


def check_an_array_that_waits_for_a_job_which_schedules(cluster):
    cluster.run(arrays(cluster)[1])
    cluster.wait_for_jobs()
    output = cluster.directory.glob("slurm-*.out")
    assert rows("".join(path.read_text() for path in output)) == SQUARES
    assert cluster.counts() == [0, len(NUMBERS), 0]


def check_arrays_that_are_cancelled_and_submitted_again(cluster):
    array, _ = arrays(cluster)
    cluster.schedule(range(60), held=(18, 19))
    for turn in 1, 2, 3:
        cluster.run(array)
        wait_for(lambda turn=turn: cluster.times("start")[18] == turn)
        wait_for(lambda turn=turn: cluster.times("start")[19] == turn)
        wait_for(lambda: cluster.counts()[1] == 18)
        cluster.run("scancel --user root")
        cluster.wait_for_jobs()
        assert cluster.counts() == [42, 18, 0]
    cluster.open_gate()
    cluster.run(array)
    cluster.wait_for_jobs()
    cluster.assert_each_ended_once(range(60))
    assert cluster.results() == [(number, number) for number in range(60)]


def check_workers_of_dask_as_jobs(cluster):
    cluster.follow("Dask on")
    cluster.run("python schedule.py")
    assert rows(cluster.run("python on_jobqueue.py")) == SQUARES
    assert cluster.counts() == [0, len(NUMBERS), 0]
    cluster.wait_for_jobs()


if __name__ == "__main__":
    for check in (
        check_an_array_that_waits_for_a_job_which_schedules,
        check_arrays_that_are_cancelled_and_submitted_again,
        check_workers_of_dask_as_jobs,
    ):
        with slurm() as cluster:
            check(cluster)
        print(check.__name__.replace("_", " "), "- ok", flush=True)
