"""Measure what a user would decide by: what a task costs, beside what else there is.

    python tests/benchmark.py                       all of it, in about ten minutes
    python tests/benchmark.py --only cost globals   some of its sections
    python tests/benchmark.py --baseline PYTHON     also the version that PYTHON imports
    python tests/benchmark.py --quick               tiny sizes, to see whether it works

It prints where it runs, and a table in Markdown. Every figure is taken in a process
that is started for it. All sides of a section take turns, round by round: a figure is
the median of its rounds, a ratio (ours to theirs, so less is better) the median of the
rounds' ratios. What can't be measured is left out, and the table says why.

The baseline is run by the same interpreter as ours, so that the two differ in
runforrest alone, and not in what Python finds in their environments when it starts.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROUNDS = 5
MODULE = Path(__file__).resolve().parent.parent / "runforrest.py"
PACKAGES = "dill", "numpy", "pebble", "submitit", "joblib", "distributed"

# The scripts --------------------------------------------------------------------------

MEASURING = """
import time
from contextlib import contextmanager

@contextmanager
def measured(count=1, name="each"):
    started = time.perf_counter()
    yield
    print(name, 1000 * (time.perf_counter() - started) / count)
"""

OTHERS = """
if __name__ == "__main__":  # as processes that are spawned import this, too
    import multiprocessing, subprocess, sys, time
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from operator import neg
    from measuring import measured
    kind, count, *arguments = sys.argv[1:]
    numbers = [-1] * (count := int(count))
    if kind == "python":
        def run(number, command=(sys.executable, *arguments)):
            return subprocess.Popen(command).wait() - number
        with measured(count), ThreadPoolExecutor(2) as threads:
            total = sum(threads.map(run, numbers))
    elif kind in ("spawn", "forkserver"):
        context = multiprocessing.get_context(kind)
        pool = ProcessPoolExecutor(2, context, max_tasks_per_child=1)
        with measured(count), pool:
            total = sum(pool.map(neg, numbers))
    elif kind == "pebble":
        from pebble import ProcessPool
        with measured(count), ProcessPool(2, max_tasks=1) as pool:
            total = sum(pool.map(neg, numbers).result())
    elif kind == "submitit":
        from submitit import LocalExecutor
        def run(number, executor=LocalExecutor("jobs")):
            job = executor.submit(neg, number)
            while not job.done():  # its own wait() looks once a second
                time.sleep(0.005)
            return job.result()
        with measured(count), ThreadPoolExecutor(2) as threads:
            total = sum(threads.map(run, numbers))
    elif kind == "parallel":
        code = "import operator, sys; print(operator.neg(int(sys.argv[1])))"
        command = ["parallel", "-j2", "-q", sys.executable, "-c", code, ":::"]
        with measured(count):
            output = subprocess.check_output([*command, *map(str, numbers)])
        total = sum(map(int, output.split()))
    elif kind == "joblib":
        from joblib import Parallel, delayed
        with Parallel(n_jobs=2) as parallel:
            parallel(delayed(neg)(number) for number in range(4))  # starts processes
            with measured(count):
                total = sum(parallel(delayed(neg)(number) for number in numbers))
    elif kind == "dask":
        from distributed import Client
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with Client(**options) as client:
            client.gather(client.map(neg, range(4)))
            with measured(count):
                total = sum(client.gather(client.map(neg, numbers, pure=False)))
    assert total == count
"""

BEGINNING = """
import operator, os, pickle, sys, time
from pathlib import Path
from measuring import measured
from runforrest import TaskList, defer

what, count, *more = sys.argv[1:]  # the first is an expression
count, tasklist = int(count), TaskList("tasklist")

def negate(number):
    return -number
"""

TASKS = f"""{BEGINNING}
call, seconds = eval(what), float(more[0])
with measured(count):
    with measured(count, "schedule"):
        for _ in range(count):
            tasklist.schedule(defer(*call))
    with measured(count, "run"):
        for task in tasklist.run(nprocesses=2):
            assert task.errorvalue is None
            if seconds:
                time.sleep(seconds)
"""

WRITE = f"""{BEGINNING}
tasklist.schedule(defer(operator.neg, -1))
[path] = Path("tasklist/todo").iterdir()
data = eval(what)
with measured(count):
    for number in range(count):
        with open(str(number), "wb") as file:
            pickle.dump(data, file, 5)
            file.flush()
            os.fsync(file.fileno())
"""

WAITING = f"""{BEGINNING}
def peak_memory():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6

tasklist.schedule(eval(what))
[path] = Path("tasklist/todo").iterdir()
first, data = int(path.name.partition("-")[0]), path.read_bytes()
for number in range(1, count):  # copies, without forcing each one to the disk
    path.with_name(str(first + number) + "-00000000.pkl").write_bytes(data)
os.sync()
assert not list(TaskList("empty").run(nprocesses=2))
memory = peak_memory()
with measured(1000, "first"):  # in seconds
    assert len(run := tasklist.run(nprocesses=2)) == count
    task = next(results := iter(run))  # which go on
assert task.returnvalue == 1
print("memory", peak_memory() - memory)
"""

GLOBAL = f"""{BEGINNING}
from dataclasses import dataclass

@dataclass
class Point:
    name: str
    x: float
    y: float

def length():
    return len(data)

data = eval(what)
task = defer(length) if more == ["global"] else defer(len, data)
tasklist.schedule(defer(negate, Point("", 0, 0)))  # which imports what it takes
with measured():
    tasklist.schedule(task)
"""

# What is compared with what -----------------------------------------------------------


class Side(NamedTuple):
    """One of the figures that a script prints."""

    script: str
    args: tuple
    figure: str = "each"
    needs: str = ""  # a package or a command
    version: str = "ours"


class Row(NamedTuple):
    """A line of the table. The sides of all rows of a section take turns."""

    section: str
    what: str
    ours: Side
    theirs: Side | None = None
    unit: str = "ms"

    def sides(self, baseline):
        other = self.ours._replace(version="baseline") if baseline else None
        return self.ours, self.theirs, other


def rows(quick):
    def size(full, tiny):
        return tiny if quick else full

    def tasks(call, count, figure="each", seconds=0):
        return Side(TASKS, (call, count, seconds), figure)

    few, some, many = size(20, 2), size(60, 4), size(1000, 10)
    count = size(100, 4)  # so that it matters little what each run costs once
    what, module = "a task that does nothing, of", "operator.neg, -1"
    for call, command, pair in [
        (module, ("-m", "empty"), "a module / `python -m EMPTY`"),
        ("negate, -1", ("-c", "import dill"), "the script / `python -c 'import dill'`"),
    ]:
        theirs = Side(OTHERS, ("python", count, *command))
        yield Row("cost", f"{what} {pair}", tasks(call, count, "run"), theirs)

    ours, what = tasks(module, some), "a task, scheduled and run"
    if not quick:  # as it has to be installed
        theirs = tasks(module, few)._replace(version="RunForrest==0.4.3")
        yield Row("alternatives", f"{what} / RunForrest 0.4.3", ours, theirs)
    for kind, needs, count, name in [
        ("spawn", "", some, "concurrent.futures, spawn, a process for each task"),
        ("forkserver", "", some, "concurrent.futures, forkserver, likewise"),
        ("pebble", "pebble", some, "pebble, a process for each task"),
        ("submitit", "submitit", few, "submitit on this machine"),
        ("parallel", "parallel", some, "GNU parallel, which stores no results"),
        ("joblib", "joblib", many, "joblib, whose processes run many tasks"),
        ("dask", "distributed", many, "dask, whose processes run many tasks"),
    ]:
        theirs = Side(OTHERS, (kind, count), needs=needs)
        yield Row("alternatives", f"{what} / {name}", ours, theirs)

    what, count = "to schedule a task / to write and fsync as much", size(500, 20)
    ours = tasks(module, count, "schedule")
    yield Row("schedule", what, ours, Side(WRITE, ("path.read_bytes()", count)))
    what, count = f"first result with {size(100_000, 50):,} waiting", size(100_000, 50)
    ours = Side(WAITING, ("defer(operator.neg, -1)", count), "first")
    yield Row("waiting", what, ours, unit="s")
    ours, what = ours._replace(figure="memory"), "memory for that, beyond an empty run"
    yield Row("waiting", what, ours, unit="MB")
    what = "tasks of 0.1 s, with a loop as slow as they are / that does nothing"
    ours, theirs = (tasks("time.sleep, 0.1", size(40, 4), seconds=n) for n in (0.05, 0))
    yield Row("consumer", what, ours, theirs)
    array = f"{size(500_000_000, 500_000)}, 120, 'uint8'"
    ours = tasks(f"__import__('numpy').full, {array}", 1)._replace(needs="numpy")
    theirs = Side(WRITE, (f"__import__('numpy').full({array})", 1), needs="numpy")
    what = "an array of 500 MB as the result / `pickle.dump` and fsync"
    yield Row("result", what, ours, theirs)
    for data, count, what in [
        ("[n / 7 for n in range(count)]", 1_000_000, "a million floats"),
        ("[f'word{n}' for n in range(count)]", 200_000, "200,000 words"),
        ("{n: [n, n] for n in range(count)}", 60_000, "a dict of 60,000 lists"),
        ("[Point('x', n, n) for n in range(count)]", 30_000, "30,000 dataclasses"),
    ]:
        args = data, size(count, 9)
        ours, theirs = (Side(GLOBAL, (*args, role)) for role in ("global", "argument"))
        what = f"to schedule {what} as a global / as an argument"
        yield Row("globals", what, ours, theirs)


# Run the scripts ----------------------------------------------------------------------


def prepare(directory, baseline):
    """Write what scripts import: each version of runforrest, and some tools."""
    files = {"ours/runforrest.py": MODULE.read_text(), "tools/measuring.py": MEASURING}
    files["tools/empty.py"] = ""  # the least that `python -m` can run
    if baseline:
        code = "import runforrest; print(open(runforrest.__file__).read())"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        options = {"text": True, "cwd": directory, "env": environment}
        text = subprocess.check_output([baseline, "-c", code], **options)
        files["baseline/runforrest.py"] = text
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)


def run(side, directory):
    """Run a script in a directory of its own; return the figures that it prints.

    RuntimeError if that is impossible here, with the reason as its text.
    """
    if side.needs and not (find_spec(side.needs) or shutil.which(side.needs)):
        raise RuntimeError("not installed")
    version = directory / side.version
    if not version.exists():
        pip = [sys.executable, "-m", "pip", "install", "--target", version]
        if subprocess.run([*pip, version.name], capture_output=True).returncode:
            raise RuntimeError("can't be installed")
    environment = os.environ | {
        "PYTHONPATH": f"{directory / 'tools'}{os.pathsep}{version}",
        "DASK_TEMPORARY_DIRECTORY": str(directory),
        "PARALLEL_HOME": str(directory),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start compiles anew
    with tempfile.TemporaryDirectory(dir=directory) as cwd:
        Path(cwd, "script.py").write_text(side.script)
        command = [sys.executable, "script.py", *map(str, side.args)]
        options = {"cwd": cwd, "env": environment, "timeout": 300}
        process = subprocess.run(command, capture_output=True, text=True, **options)
    if process.returncode:
        raise RuntimeError(f"failed: {(process.stderr.splitlines() or ['?'])[-1]}")
    return {k: float(v) for k, v in map(str.split, process.stdout.splitlines())}


def take_turns(sides, rounds, directory):
    """Run all scripts once a round; return each side's figures, or why it has none."""
    found = {side._replace(figure=""): [] for side in sides}  # one script may give more
    for _ in range(rounds):
        for side, figures in found.items():
            if isinstance(figures, list):
                try:
                    figures.append(run(side, directory))
                except (RuntimeError, subprocess.TimeoutExpired) as reason:
                    found[side] = str(reason)

    def figures_of(side):
        figures = found[side._replace(figure="")]
        return (
            [f[side.figure] for f in figures] if isinstance(figures, list) else figures
        )

    return {side: figures_of(side) for side in sides}


# Show it ------------------------------------------------------------------------------


def shown(figures, unit):
    if not isinstance(figures, list):
        return figures or ""
    median = statistics.median(figures)
    return f"{median:,.0f} {unit}" if median > 100 else f"{median:.3g} {unit}"


def ratio(ours, theirs):
    if not isinstance(ours, list) or not isinstance(theirs, list) or 0 in theirs:
        return ""
    ratios = (mine / other for mine, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.3g}"


def circumstances():
    """The parts of the sentence above the table."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield f"Measured on {time.strftime('%Y-%m-%d')}, with two processes on a machine"
    yield f" with {os.cpu_count()} processors and {memory:.0f} GB of memory,"
    yield f" {platform.system()} {platform.release()}"
    yield f", Python {platform.python_version()}"
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            yield f", {package} {importlib.metadata.version(package)}"
    with suppress(FileNotFoundError):
        text = subprocess.check_output(["parallel", "--version"], text=True)
        yield f", {text.splitlines()[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    sections = list(dict.fromkeys(row.section for row in rows(quick=True)))
    parser.add_argument("--only", nargs="+", choices=sections, default=sections)
    parser.add_argument("--baseline", metavar="PYTHON", help="whose version to compare")
    parser.add_argument("--quick", action="store_true", help="take tiny sizes")
    args = parser.parse_args()
    print("".join(circumstances()), end=":\n\n")
    head = ["what", "ours", "theirs", "ratio", "baseline (ratio)"]
    columns = len(head) if args.baseline else len(head) - 1
    for cells in head, ["---"] * len(head):
        print("|", " | ".join(cells[:columns]), "|")
    with tempfile.TemporaryDirectory(prefix="benchmark") as temporary:
        prepare(directory := Path(temporary), args.baseline)
        for section in args.only:
            lines = [row for row in rows(args.quick) if row.section == section]
            sides = [side for row in lines for side in row.sides(args.baseline) if side]
            found = take_turns(sides, 1 if args.quick else ROUNDS, directory)
            for row in lines:
                ours, theirs, baseline = map(found.get, row.sides(args.baseline))
                cells = [row.what, *(shown(side, row.unit) for side in (ours, theirs))]
                cells += [ratio(ours, theirs)]
                cells += [f"{shown(baseline, row.unit)} ({ratio(ours, baseline)})"]
                print("|", " | ".join(cells[:columns]), "|", flush=True)


if __name__ == "__main__":
    main()
