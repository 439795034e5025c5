"""Kill runners and tasks at random moments, and look for what was lost or done twice.

    python tests/kill_trials.py --trials 100 --seed 1

Each trial schedules a few short tasks, which write to a journal when they begin and
end, and runs them. At a random moment of that, it sends SIGKILL to

runner: the only runner of the directory, which is started again at once
one of three: one of three runners that share the directory, and the same
task: the process of a task that is running, while its runner goes on

Afterwards it runs what is left, and counts what there must be none of:

lost: tasks that aren't in done/, except that one whose own process was killed may be
    in fail/ instead; or that were nowhere at all after the kill
half-written: task files that can't be loaded, after the kill or at the end
run again: executions of tasks that were in done/ when the kill came, and any second
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
from pathlib import Path

from runforrest import TaskList, defer

KINDS = "runner", "one of three", "task"
FAULTS = "lost", "half-written", "run again", "alive", "crashed"
COLUMNS = "trials", "kills", "executions", "left over", *FAULTS
TASKS, MARKER = 8, "KILL_TRIALS_RUNNER"

RUNNER = """
import sys
from runforrest import TaskList

for task in TaskList(sys.argv[1], exist_ok=True, pre_clean=False).run(nprocesses=2):
    pass
"""


def write_to_journal(path, event, number):
    journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{event} {number} {os.environ[MARKER]}\n".encode())
    os.close(journal)


def work(journal, number, seconds):
    write_to_journal(journal, "begin", number)
    if number % 4 == 0:  # and leave a child behind
        os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    time.sleep(seconds)
    write_to_journal(journal, "end", number)
    return number


class Runner:
    """A process that runs the tasks in a directory, and all that it has started."""

    def __init__(self, directory):
        self.marker = os.urandom(8).hex()
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, directory / "tasks"],
            env=os.environ | {MARKER: self.marker},
        )

    def task_processes(self):
        """The numbers of its processes, but zombies, each with its command line."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes()
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # somebody else's, or it has ended meanwhile
            if f"{MARKER}={self.marker}".encode() in environment:
                found[int(path.name)] = command.decode(errors="replace")
        found.pop(self.process.pid, None)
        return found

    def crashed(self):
        """Wait until it ends; return whether something was wrong with that."""
        try:
            return self.process.wait(60) != 0
        except subprocess.TimeoutExpired:
            self.kill()
            return True

    def kill(self):
        """Kill the runner itself; return whether it was still there."""
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def kill_a_task(self, names, chance):
        """Kill a task's process; return the name of its file, or None at the end."""
        while self.process.poll() is None:
            processes = list(self.task_processes().items())
            chance.shuffle(processes)
            for number, command in processes:
                name = next((name for name in names if name in command), None)
                if name and kill_process(number, name):
                    return name
        return None

    def count_what_stays_alive(self):
        """Wait until nothing of it is left; after a second kill and count the rest."""
        deadline = time.monotonic() + 1
        while (found := self.task_processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in found:
            kill_process(number)
        return len(found)


def kill_process(number, text=""):
    """Kill a process with a text in its command line; return whether it was there."""
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return False
    try:  # once it is opened, no other process gets its number unnoticed
        if text.encode() not in Path(f"/proc/{number}/cmdline").read_bytes():
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(process)
    return True


def schedule(directory, chance):
    """Schedule the tasks of a trial; return the names of their files in this order."""
    tasklist = TaskList(directory / "tasks")
    for number in range(TASKS):
        seconds = chance.uniform(0, 0.03)
        tasklist.schedule(defer(work, directory / "journal", number, seconds), number)
    return sorted(names_in(directory, "todo"))


def start(kind, directory):
    return [Runner(directory) for _ in range(3 if kind == "one of three" else 1)]


def names_in(directory, state):
    return {path.name for path in (directory / "tasks" / state).glob("*.pkl")}


def begins_in(directory):
    """How often each runner has begun each task."""
    if not (directory / "journal").exists():
        return Counter()
    lines = (directory / "journal").read_text().splitlines()
    fields = (line.split() for line in lines)
    return Counter(
        (int(number), marker) for event, number, marker in fields if event == "begin"
    )


def is_half_written(path):
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False  # it was moved
    try:
        return pickle.loads(data).metadata not in range(TASKS)
    except Exception:  # whatever it raises, it can't be loaded
        return True


def count_half_written(directory):
    return sum(map(is_half_written, list((directory / "tasks").glob("*/*.pkl"))))


def try_once(kind, moment, directory, chance):
    """Do a trial; return how often what has happened."""
    names, counts = schedule(directory, chance), Counter(trials=1)
    runners = start(kind, directory)
    victim, killed_task = chance.choice(runners), None
    time.sleep(moment)
    if kind == "task":
        killed_task = victim.kill_a_task(names, chance)
        killed = killed_task is not None
    else:
        killed = victim.kill()
    counts["kills"] += killed

    completed = names_in(directory, "done")
    begun = begins_in(directory).keys()
    if kind != "task":
        runners.append(Runner(directory))
    # In the order in which files move, so that none can slip through.
    anywhere = set().union(*(names_in(directory, s) for s in ("todo", "done", "fail")))
    lost = set(names) - anywhere
    counts["half-written"] += count_half_written(directory)
    if kind != "task":
        counts["alive"] += victim.count_what_stays_alive()

    unharmed = [r for r in runners if kind == "task" or not (r is victim and killed)]
    for runner in unharmed:
        counts["crashed"] += runner.crashed()
        counts["alive"] += runner.count_what_stays_alive()
    counts["left over"] += len(names_in(directory, "todo"))
    final = Runner(directory)
    unharmed.append(final)
    counts["crashed"] += final.crashed()
    counts["alive"] += final.count_what_stays_alive()

    tasklist = TaskList(directory / "tasks", exist_ok=True, pre_clean=False)
    done = {t.metadata for t in tasklist.done_tasks() if t.returnvalue == t.metadata}
    fail = {t.metadata for t in tasklist.fail_tasks()}
    begins, markers = begins_in(directory), {runner.marker for runner in unharmed}
    for number, name in enumerate(names):
        found = number in done or (number in fail and name == killed_task)
        counts["lost"] += not found or name in lost
        by = {marker: n for (task, marker), n in begins.items() if task == number}
        executions = sum(n for marker, n in by.items() if marker in markers)
        again = max(0, executions - 1)
        if name in completed:
            new = [marker for marker in by if (number, marker) not in begun]
            again = max(again, sum(by[marker] for marker in new))
        counts["run again"] += again
    counts["executions"] += begins.total()
    counts["half-written"] += count_half_written(directory)
    return counts


def measure(kind, chance):
    """How long it takes if nobody is killed, in seconds."""
    with tempfile.TemporaryDirectory(prefix="kill_trials") as directory:
        schedule(Path(directory), chance)
        started = time.perf_counter()
        for runner in start(kind, Path(directory)):
            runner.crashed()
        return time.perf_counter() - started


def print_table(totals):
    print(f"{'killed':12}", *(f"{column:>12}" for column in COLUMNS))
    for kind, counts in totals.items():
        print(f"{kind:12}", *(f"{counts[column]:12}" for column in COLUMNS))


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, help="default: a new one")
    options = parser.parse_args(args)
    if sys.platform != "linux":
        parser.error("this finds processes in /proc: run it on Linux")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"{options.trials} trials with --seed {seed}", flush=True)
    chance, totals = random.Random(seed), {kind: Counter() for kind in KINDS}
    seconds = {kind: measure(kind, chance) for kind in KINDS}
    for _ in range(options.trials):
        kind = chance.choice(KINDS)
        moment = chance.uniform(0, seconds[kind])
        with tempfile.TemporaryDirectory(prefix="kill_trials") as directory:
            totals[kind] += try_once(kind, moment, Path(directory), chance)
    totals["all"] = sum(totals.values(), Counter())
    print_table(totals)
    return int(any(totals["all"][fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
