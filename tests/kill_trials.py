"""Kill runners and tasks at random moments, and look for what was lost or done twice.

    python tests/kill_trials.py --trials 100 --seed 1 --busy 2

Each trial schedules a few short tasks, which write to a journal when they begin and
end, and runs them. At a random moment of that, it sends SIGKILL to the only runner
("runner"), which is started again at once, to one of three that share the directory,
or to the process of a task that is running, while its runner goes on ("task").
Afterwards it runs what is left, and counts what there must be none of:

lost: tasks that aren't in done/, except that one whose own process was killed may be
    in fail/ instead; or that were nowhere at all after the kill
half-written: files of tasks that can't be loaded, after the kill or at the end
run again: executions of tasks that were completed when the kill came, and any second
    execution of a task by runners that were not killed
alive: processes of tasks, or that these started, a second after their runner ended
crashed: runners that ended with an error, or not at all, though nobody had killed them

"Left over" is no fault: tasks that were passed over as their last process was still
about to end, and took one more run. The exit code is 1 if there was any fault. The same
seed makes the same choices, but what is hit at that moment differs. This wants Linux.
"""

import argparse
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from conftest import processes_of

from runforrest import TaskList, defer

RUNNERS = {"runner": 1, "one of three": 3, "task": 1}  # of each kind of trial
FAULTS = "lost", "half-written", "run again", "alive", "crashed"
COLUMNS = "trials", "kills", "executions", "left over", *FAULTS
TASKS, MARKER = 8, "KILL_TRIALS_RUNNER"
# Where a task's file is, in the order in which it gets there; an outcome may be written
# beside it, before that is removed and the outcome moved.
COMPLETED = "todo/*.pkl.done", "done/*.pkl"
ANYWHERE = "todo/*.pkl", "todo/*.pkl.fail", *COMPLETED, "fail/*.pkl"

RUN = """
import sys
from runforrest import TaskList
for task in TaskList(sys.argv[1], exist_ok=True, pre_clean=False).run(nprocesses=2):
    pass
"""
BURN = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"


def note(journal, event, number):
    with journal.open("a") as file:
        print(event, number, os.environ[MARKER], file=file)


def work(journal, number, seconds):
    note(journal, "begin", number)
    if number % 4 == 0:  # and leave a child behind
        os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    time.sleep(seconds)
    note(journal, "end", number)
    return number


class Runner:
    """A process that runs the tasks in a directory, and all that it has started."""

    def __init__(self, directory):
        self.marker, self.killed = os.urandom(8).hex(), False
        command = [sys.executable, "-c", RUN, directory / "tasks"]
        environment = os.environ | {MARKER: self.marker}
        self.process = subprocess.Popen(command, env=environment)

    def task_processes(self):
        """The numbers of the processes that it has started, and these in turn."""
        found = processes_of(f"{MARKER}={self.marker}", "environ")
        return [number for number in found if number != self.process.pid]

    def kill(self):
        """Kill the runner itself, unless it has ended."""
        self.process.kill()
        self.killed = self.process.wait() == -signal.SIGKILL

    def kill_a_task(self, names, chance):
        """Kill a task's process; return the name of its file, or None at the end."""
        while self.process.poll() is None:
            found = self.task_processes()
            for number in chance.sample(found, len(found)):
                with suppress(OSError):  # it has ended meanwhile
                    command = Path(f"/proc/{number}/cmdline").read_text()
                    for name in filter(command.__contains__, names):
                        os.kill(number, signal.SIGKILL)
                        return name
        return None

    def faults(self):
        """Count what is wrong with its end, and what is left a second after that."""
        try:
            crashed = self.process.wait(60) != 0 and not self.killed
        except subprocess.TimeoutExpired:
            self.kill()
            crashed = True
        deadline = time.monotonic() + 1
        while (found := self.task_processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in found:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return Counter(crashed=crashed, alive=len(found))


def schedule(directory, chance):
    """Schedule the tasks of a trial; return the names of their files in this order."""
    tasklist = TaskList(directory / "tasks")
    for number in range(TASKS):
        seconds = chance.uniform(0, 0.03)
        tasklist.schedule(defer(work, directory / "journal", number, seconds), number)
    return sorted(names_in(directory, "todo/*.pkl"))


def names_in(directory, *patterns):
    """The names of the tasks that have such files, which are looked for in this order.

    So none slips through that is moved meanwhile.
    """
    paths = (path for pattern in patterns for path in task_files(directory, pattern))
    return {path.name.removesuffix(".done").removesuffix(".fail") for path in paths}


def task_files(directory, pattern="*/*.pkl*"):
    return list((directory / "tasks").glob(pattern))


def begins_in(directory):
    """How often each task was begun by each runner."""
    path = directory / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [line.split() for line in lines if line.startswith("begin")]
    return Counter((int(number), marker) for _, number, marker in rows)


def is_half_written(path):
    try:
        return pickle.loads(path.read_bytes()).metadata not in range(TASKS)
    except FileNotFoundError:
        return False  # it was moved
    except Exception:  # whatever it raises, it can't be loaded
        return path.suffix != ".tmp"


def try_once(kind, moment, directory, chance):
    """Do a trial; return how often what has happened."""
    names, counts = schedule(directory, chance), Counter(trials=1)
    runners = [Runner(directory) for _ in range(RUNNERS[kind])]
    victim, killed_task = chance.choice(runners), None
    time.sleep(moment)
    if kind == "task":
        killed_task = victim.kill_a_task(names, chance)
    else:
        victim.kill()
    counts["kills"] += victim.killed or killed_task is not None

    completed = names_in(directory, *COMPLETED)
    begun = begins_in(directory)
    if kind != "task":
        runners.append(Runner(directory))
    lost = set(names) - names_in(directory, *ANYWHERE)
    counts["half-written"] += sum(map(is_half_written, task_files(directory)))
    for runner in sorted(runners, key=lambda runner: runner is not victim):
        counts += runner.faults()
    counts["left over"] += len(names_in(directory, "todo/*.pkl"))
    runners.append(Runner(directory))
    counts += runners[-1].faults()

    tasklist = TaskList(directory / "tasks", exist_ok=True, pre_clean=False)
    done = {t.metadata for t in tasklist.done_tasks() if t.returnvalue == t.metadata}
    fail = {t.metadata for t in tasklist.fail_tasks()}
    begins = begins_in(directory)
    markers = [runner.marker for runner in runners if not runner.killed]
    for number, name in enumerate(names):
        found = number in done or (number in fail and name == killed_task)
        counts["lost"] += not found or name in lost
        again = sum(begins[number, marker] for marker in markers) - 1
        if name in completed:
            new = [key for key in begins.keys() - begun.keys() if key[0] == number]
            again = max(again, sum(begins[key] for key in new))
        counts["run again"] += max(0, again)
    counts["executions"] += begins.total()
    counts["half-written"] += sum(map(is_half_written, task_files(directory)))
    return counts


def try_often(trials, chance):
    """Do all trials; return how often what has happened, for each kind of victim."""
    totals, seconds = {kind: Counter() for kind in RUNNERS}, {}
    for number in range(-len(RUNNERS), trials):
        with tempfile.TemporaryDirectory(prefix="kill_trials") as name:
            directory = Path(name)
            if number < 0:  # see how long it takes if nobody is killed
                kind = list(RUNNERS)[number]
                schedule(directory, chance)
                started = time.perf_counter()
                for runner in [Runner(directory) for _ in range(RUNNERS[kind])]:
                    runner.process.wait(60)
                seconds[kind] = time.perf_counter() - started
            else:
                kind = chance.choice(list(RUNNERS))
                moment = chance.uniform(0, seconds[kind])
                totals[kind] += try_once(kind, moment, directory, chance)
    return totals | {"all": sum(totals.values(), Counter())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, help="default: a new one")
    parser.add_argument("--busy", type=int, default=0, help="processes that burn CPU")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("this finds processes in /proc: run it on Linux")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"{options.trials} trials with --seed {seed}", flush=True)
    for _ in range(options.busy):  # until this process ends
        subprocess.Popen([sys.executable, "-c", BURN, str(os.getpid())])
    totals = try_often(options.trials, random.Random(seed))
    for kind, counts in {"killed": {c: c for c in COLUMNS}, **totals}.items():
        print(f"{kind:12}", *(f"{counts[column]:>12}" for column in COLUMNS))
    return int(any(totals["all"][fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
