"""Run the README's recipes for Slurm on a Slurm of one node, which is set up here.

    apt-get install slurm-wlm munge
    python -m pip install dask-jobqueue
    python tests/slurm.py

This wants root and Linux. Everything is in a temporary directory, and is ended and
removed afterwards. The exit code is 0 if each task ran once, whatever was cancelled.
"""

import os
import socket
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from conftest import wait_for
from test_engines import JOURNAL, NUMBERS, Site, recipe

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1
NodeName={host} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm(Site):
    def __init__(self, directory):
        super().__init__(directory)
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self.environment["SLURM_CONF"] = str(directory / "slurm.conf")
        self.environment["DASK_JOBQUEUE__SLURM__INTERFACE"] = "lo"

    def set_up(self):
        host, (controller_port, node_port) = socket.gethostname(), free_ports(2)
        (self.directory / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host.partition(".")[0],
                controller_port=controller_port,
                node_port=node_port,
                directory=self.directory,
            )
        )
        for name in "state", "spool":
            (self.directory / name).mkdir()
        key = self.directory / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        options = {
            "socket": "munge.socket",
            "key-file": "munge.key",
            "log-file": "munge.log",
            "pid-file": "munge.pid",
            "seed-file": "munge.seed",
        }
        options = [f"--{name}={self.directory}/{options[name]}" for name in options]
        self.start(f"exec munged --foreground --force {' '.join(options)}")
        wait_for((self.directory / "munge.socket").exists)
        self.start("exec slurmctld -D")
        self.start("exec slurmd -D")
        wait_for(lambda: "idle" in self.run("sinfo -h -o %T", check=False))

    def submit(self, *lines):
        return self.run("\n".join(lines))

    def wait_for_jobs(self):
        wait_for(lambda: not self.run("squeue -h").strip(), seconds=120)

    def wait_for_starts(self, tasks, times, done):
        """Wait until these were started so often, and so many others are done."""
        wait_for(
            lambda: (
                all(self.started()[number] == times for number in tasks)
                and self.count("done") == done
            )
        )

    def told(self):
        """What all jobs have printed, the lines of which may be in any order.

        A job that is cancelled may lose lines that it had not written to its file yet.
        """
        texts = [path.read_text() for path in self.directory.glob("slurm-*.out")]
        return sorted(
            tuple(map(int, line.split()))
            for line in "".join(texts).splitlines()
            if line[0].isdigit()
        )

    def tasks(self):
        return [self.count(state) for state in ("todo", "done", "fail")]


def free_ports(count):
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def slurm(title):
    """A Slurm of its own for each recipe, with the files of the recipe."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = Slurm(Path(directory))
        try:
            cluster.set_up()
            for heading in "More than one computer", title:
                cluster.write(recipe(heading)[0])
            yield cluster
        except BaseException:
            for pattern in "output", "munge.log", "slurm-*.out":
                for log in cluster.directory.glob(pattern):
                    print(log.read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            cluster.close()


ARRAY = "Arrays of jobs, and many scripts"
SQUARES = [(number, number**2) for number in NUMBERS]


def check_an_array_that_waits_for_a_job_which_schedules():
    with slurm(ARRAY) as cluster:
        _, (_, *schedule_and_array) = recipe(ARRAY)
        cluster.submit(*schedule_and_array)
        cluster.wait_for_jobs()
        assert cluster.told() == SQUARES, cluster.told()
        assert cluster.tasks() == [0, len(NUMBERS), 0], cluster.tasks()


def check_arrays_that_are_cancelled_and_submitted_again():
    with slurm(ARRAY) as cluster:
        _, (array, *_) = recipe(ARRAY)
        cluster.python(
            JOURNAL + "schedule(range(60), lambda number: number in (18, 19))"
        )
        for turn in 1, 2, 3:
            cluster.submit(array)
            cluster.wait_for_starts((18, 19), times=turn, done=18)
            cluster.run("scancel --user root")
            cluster.wait_for_jobs()
            todo, done, fail = cluster.tasks()
            print(f"cancelled: {todo} todo, {done} done, {fail} failed")
            assert (todo, done, fail) == (42, 18, 0)
        cluster.open_gate()
        cluster.submit(array)
        cluster.wait_for_jobs()
        assert cluster.ended() == Counter(range(60)), cluster.ended()
        assert cluster.results() == [(number, number) for number in range(60)]
        assert cluster.tasks() == [0, 60, 0], cluster.tasks()


def check_workers_of_dask_as_jobs():
    with slurm("Dask on Slurm, PBS, LSF or SGE") as cluster:
        cluster.run("python schedule.py")
        told = cluster.run("python on_jobqueue.py").splitlines()
        told = sorted(tuple(map(int, line.split())) for line in told)
        assert told == SQUARES, told
        assert cluster.tasks() == [0, len(NUMBERS), 0], cluster.tasks()
        cluster.wait_for_jobs()


if __name__ == "__main__":
    for check in (
        check_an_array_that_waits_for_a_job_which_schedules,
        check_arrays_that_are_cancelled_and_submitted_again,
        check_workers_of_dask_as_jobs,
    ):
        check()
        print(check.__name__.replace("_", " "), "- ok", flush=True)
