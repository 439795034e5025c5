"""Measure what a task costs, beside what could be used instead.

    python tests/benchmark.py                       all of it, in about five minutes
    python tests/benchmark.py --only cost latency   some of its sections
    python tests/benchmark.py --quick               tiny sizes, to see whether it works
    python tests/benchmark.py --plot FILE           also draw the times per task

It prints tables in Markdown. Every figure is taken in a process that is started for it.
The two sides of a comparison take turns, round by round: a figure is the median of its
rounds, a ratio (ours to theirs, so less is better) the median of the rounds' ratios. A
goal is what the ratio may be at most, or our figure where there is nothing to compare.
What is not installed is left out, and the table says so.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

MODULE_DIRECTORY = Path(__file__).resolve().parent.parent
PACKAGES = ["dill", "numpy", "pebble", "submitit", "joblib", "distributed"]

# What every script of a section can import.
MEASURING = '''
import json
import time
from contextlib import contextmanager


def say(**figures):
    print(json.dumps(figures), flush=True)


def processor_time():
    """Seconds of this process and of those children that have been waited for."""
    import resource

    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def measured(count=1, name="wall"):
    """Say how many milliseconds a block takes, by the clock and of the processors."""
    cpu, wall = processor_time(), time.perf_counter()
    yield
    wall, cpu = time.perf_counter() - wall, processor_time() - cpu
    say(**{name: 1000 * wall / count, "cpu": 1000 * cpu / count})


def peak_memory():
    """The most memory that this process has had at any time, in MB."""
    with open("/proc/self/status") as status:
        [peak] = [line.split()[1] for line in status if line.startswith("VmHWM")]
    return int(peak) * 1024 / 1e6
'''


# What a section has, and what it gives ------------------------------------------------


class Unavailable(Exception):
    """Something can't be measured here, for the reason that is the text of this."""


class Bench:
    """Runs the scripts of a section; knows how large they are meant to be."""

    def __init__(self, directory, quick):
        self.directory, self.quick = Path(directory), quick
        (self.directory / "measuring.py").write_text(MEASURING)
        (self.directory / "empty.py").touch()

    def size(self, full, quick):
        return quick if self.quick else full

    def run(self, source, *args, python=sys.executable, cwd=None, own_module=True):
        """Run a script to its end, in a new directory; return the figures it said."""
        if cwd is None:
            with tempfile.TemporaryDirectory(dir=self.directory) as cwd:
                return self.run(
                    source, *args, python=python, cwd=cwd, own_module=own_module
                )
        script = Path(cwd) / "script.py"
        script.write_text(source)
        paths = [self.directory, *[MODULE_DIRECTORY] * own_module]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start compiles anew
        process = subprocess.Popen(
            [python, script, *map(str, args)],
            cwd=cwd,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=300)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unavailable("took more than 5 minutes") from None
            raise
        if process.returncode:
            raise Unavailable(f"failed: {(stderr.splitlines() or ['?'])[-1]}")
        figures = {}
        for line in stdout.splitlines():
            figures |= json.loads(line)
        return figures

    def in_turns(self, rounds, **sides):
        """Call every side once a round; return the figures of all rounds of each."""
        figures = {name: {} for name in sides}
        for _ in range(self.size(rounds, 1)):
            for name, side in sides.items():
                for what, value in side().items():
                    figures[name].setdefault(what, []).append(value)
        return figures


@dataclass
class Row:
    """A line of a table; the figures are lists with one for every round."""

    what: str
    ours: list
    theirs: list | str | None = None  # a text says why there is none
    unit: str = "ms"
    goal: float | None = None

    @property
    def ratio(self):
        if not isinstance(self.theirs, list):
            return None
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    @property
    def met(self):
        if self.goal is None or isinstance(self.theirs, str):
            return None
        figure = statistics.median(self.ours) if self.theirs is None else self.ratio
        return figure <= self.goal

    def cells(self):
        def figure(values):
            median = statistics.median(values)
            return f"{median:,.0f}" if median > 100 else f"{median:.3g}"

        theirs = self.theirs or ""
        unit = f" {self.unit}" if self.theirs is None else ""
        return [
            self.what,
            f"{figure(self.ours)} {self.unit}",
            theirs if isinstance(theirs, str) else f"{figure(theirs)} {self.unit}",
            "" if self.ratio is None else f"{self.ratio:.3g}",
            "" if self.goal is None else f"≤ {self.goal:g}{unit}",
            {None: "", True: "yes", False: "NO"}[self.met],
        ]


# What a task costs --------------------------------------------------------------------

OURS = """
import operator
import sys

from measuring import measured
from runforrest import TaskList, defer


def negate(number):
    return -number


kind, count = sys.argv[1], int(sys.argv[2])
function = {"module": operator.neg, "script": negate}[kind]
tasklist = TaskList("tasklist")
with measured(count):
    for _ in range(count):
        tasklist.schedule(defer(function, -1))
    with measured(count, name="run"):
        assert sum(task.returnvalue for task in tasklist.run(nprocesses=2)) == count
"""

PROCESSES = """
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from measuring import measured

count, command = int(sys.argv[1]), [sys.executable, *sys.argv[2:]]
with measured(count), ThreadPoolExecutor(2) as threads:
    codes = threads.map(lambda _: subprocess.Popen(command).wait(), range(count))
    assert not any(codes)
"""


def cost(bench):
    """What a task costs that does nothing, run by 2 processes"""
    count = bench.size(100, 4)  # so that it matters little what each run costs once
    figures = bench.in_turns(
        5,
        module=partial(bench.run, OURS, "module", count),
        script=partial(bench.run, OURS, "script", count),
        bare=partial(bench.run, PROCESSES, count, "-c", "pass"),
        empty=partial(bench.run, PROCESSES, count, "-m", "empty"),
        dill=partial(bench.run, PROCESSES, count, "-c", "import dill"),
    )
    comparisons = [
        ("a module's function / `python -m EMPTY`", "module", "empty", 1.5),
        ("a module's function / `python -c pass`", "module", "bare", None),
        ("the script's function / `python -c 'import dill'`", "script", "dill", 1.25),
        ("the script's function / `python -m EMPTY`", "script", "empty", None),
    ]
    for what, ours, theirs, goal in comparisons:
        ours, theirs = figures[ours], figures[theirs]
        yield Row(what, ours["run"], theirs["wall"], goal=goal)
        yield Row(f"{what}, with schedule", ours["wall"], theirs["wall"])
        yield Row(f"{what}, with schedule, CPU", ours["cpu"], theirs["cpu"])


# What else could be used --------------------------------------------------------------

POOL = """
if __name__ == "__main__":
    import multiprocessing
    import operator
    import sys
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import forkserver

    from measuring import measured

    count, method = int(sys.argv[1]), sys.argv[2]
    context = multiprocessing.get_context(method)
    with measured(count):
        with ProcessPoolExecutor(2, context, max_tasks_per_child=1) as pool:
            assert sum(pool.map(operator.neg, [-1] * count)) == count
        if method == "forkserver":
            forkserver._forkserver._stop()  # to have its time counted
"""

PEBBLE = """
if __name__ == "__main__":
    import multiprocessing
    import operator
    import sys

    from measuring import measured
    from pebble import ProcessPool

    count, context = int(sys.argv[1]), multiprocessing.get_context(sys.argv[2])
    with measured(count), ProcessPool(2, max_tasks=1, context=context) as pool:
        assert sum(pool.map(operator.neg, [-1] * count).result()) == count
"""

SUBMITIT = """
import operator
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from measuring import measured
from submitit import LocalExecutor

executor = LocalExecutor("jobs")


def run(number):
    job = executor.submit(operator.neg, number)
    while not job.done():  # its own wait() looks once a second
        time.sleep(0.005)
    return job.result()


count = int(sys.argv[1])
with measured(count), ThreadPoolExecutor(2) as threads:
    assert sum(threads.map(run, [-1] * count)) == count
"""

PARALLEL = """
import subprocess
import sys

from measuring import measured

count = int(sys.argv[1])
code = "import operator, sys; print(operator.neg(int(sys.argv[1])))"
command = ["parallel", "-j2", "-q", sys.executable, "-c", code, ":::"]
with measured(count):
    output = subprocess.check_output(command + ["-1"] * count)
assert sum(map(int, output.split())) == count
"""

JOBLIB = """
import operator
import sys

from joblib import Parallel, delayed
from measuring import measured

count = int(sys.argv[1])
with Parallel(n_jobs=2) as parallel:
    parallel(delayed(operator.neg)(-1) for _ in range(4))
    with measured(count):
        assert sum(parallel(delayed(operator.neg)(-1) for _ in range(count))) == count
"""

DASK = """
if __name__ == "__main__":
    import operator
    import sys

    from distributed import Client, LocalCluster
    from measuring import measured

    count = int(sys.argv[1])
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**workers) as cluster, Client(cluster) as client:
        client.gather(client.map(operator.neg, range(4)))
        with measured(count):
            futures = client.map(operator.neg, [-1] * count, pure=False)
            assert sum(client.gather(futures)) == count
"""


def alternatives(bench):
    """The same task with what else could be used, 2 at a time"""
    few, some, many = bench.size(20, 2), bench.size(60, 2), bench.size(1000, 10)
    isolated = {  # every task in a process of its own
        "concurrent.futures, spawn": (None, POOL, some, "spawn"),
        "concurrent.futures, forkserver": (None, POOL, some, "forkserver"),
        "pebble, spawn": ("pebble", PEBBLE, some, "spawn"),
        "pebble, fork": ("pebble", PEBBLE, some, "fork"),
        "submitit, local": ("submitit", SUBMITIT, few),
        "GNU parallel": ("parallel", PARALLEL, some),
    }
    shared = {  # processes that run already, and that all tasks share
        "joblib (no isolation)": ("joblib", JOBLIB, many),
        "dask.distributed (no isolation)": ("distributed", DASK, many),
    }
    sides = {"ours": partial(bench.run, OURS, "module", some)}
    missing = {}
    for name, (needs, *args) in (isolated | shared).items():
        if needs and not (importlib.util.find_spec(needs) or shutil.which(needs)):
            missing[name] = "not installed"
        else:
            sides[name] = partial(_try, missing, name, partial(bench.run, *args))
    original = "RunForrest 0.4.3"
    try:
        python = _install(bench, "RunForrest==0.4.3", "setuptools", "dill")
        run = partial(bench.run, OURS, "module", few, python=python, own_module=False)
        sides[original] = partial(_try, missing, original, run)
    except Unavailable as reason:
        missing[original] = str(reason)
    figures = bench.in_turns(3, **sides)

    ours = figures["ours"]
    goals = {original: 1 / 8} | dict.fromkeys(isolated, 1) | dict.fromkeys(shared)
    for name, goal in goals.items():
        theirs = figures.get(name, {})
        text = missing.get(name)
        yield Row(name, ours["wall"], text or theirs["wall"], goal=goal)
        if goal and not text:
            yield Row(f"{name}, CPU", ours["cpu"], theirs["cpu"])


def _try(missing, name, side):
    """Measure a side that may fail; once it has, note why and leave it out."""
    if name in missing:
        return {}
    try:
        return side()
    except Unavailable as reason:
        missing[name] = str(reason)
        return {}


def _install(bench, *packages):
    """Make an environment with some packages; return its interpreter."""
    if bench.quick:
        raise Unavailable("not in a quick run")
    directory = bench.directory / "environment"
    python = directory / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", *packages]
    for command in [sys.executable, "-m", "venv", directory], install:
        if subprocess.run(command, capture_output=True).returncode:
            raise Unavailable("not available (is there a network?)")
    return str(python)


# What it takes to schedule, and how it grows ------------------------------------------

WRITE = """
import operator
import os
import sys
from pathlib import Path

from measuring import measured
from runforrest import TaskList, defer

count = int(sys.argv[1])
TaskList("tasklist").schedule(defer(operator.neg, -1))
[file] = Path("tasklist/todo").iterdir()
data = file.read_bytes()
os.mkdir("directory")
with measured(count):
    for number in range(count):
        with open(f"directory/{number}.tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"directory/{number}.tmp", f"directory/{number}.pkl")
        descriptor = os.open("directory", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
"""

FILL = """
import operator
import sys

from measuring import measured
from runforrest import TaskList, defer

directory, count = sys.argv[1], int(sys.argv[2])
tasklist = TaskList(directory, exist_ok=True, pre_clean=False)
with measured(count):
    for _ in range(count):
        tasklist.schedule(defer(operator.neg, -1))
"""

BEGIN = """
import sys
import time

from measuring import peak_memory, say
from runforrest import TaskList

directory, count = sys.argv[1], int(sys.argv[2])
tasklist = TaskList(directory, exist_ok=True, pre_clean=False)
memory, started = peak_memory(), time.perf_counter()
first = None
for number, task in enumerate(tasklist.run(nprocesses=2)):
    assert task.returnvalue == 1
    first = first or time.perf_counter()
    if number == count:
        break
    last = time.perf_counter()
say(first=first - started, each=1000 * (last - first) / (count - 1))
say(memory=peak_memory() - memory)
"""


def schedule(bench):
    """Scheduling, and tasklists that grow"""
    count = bench.size(500, 20)
    figures = bench.in_turns(
        5,
        ours=partial(bench.run, FILL, "tasklist", count),
        theirs=partial(bench.run, WRITE, count),
    )
    ours, theirs = figures["ours"], figures["theirs"]
    what = "schedule / write, fsync, rename, fsync the directory"
    yield Row(what, ours["wall"], theirs["wall"], goal=1.5)
    yield Row(f"{what}, CPU", ours["cpu"], theirs["cpu"])

    few, many, begun = bench.size(1000, 20), bench.size(100_000, 60), bench.size(200, 4)
    with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
        run = partial(bench.run, cwd=directory)

        def schedule_few():
            shutil.rmtree(Path(directory) / "few", ignore_errors=True)
            return run(FILL, "few", few)

        run(FILL, "many", many)
        figures = bench.in_turns(
            3,
            schedule_few=schedule_few,
            schedule_many=partial(run, FILL, "many", few),
            run_few=partial(run, BEGIN, "few", begun),
            run_many=partial(run, BEGIN, "many", begun),
        )
    for what, figure in [("schedule", "wall"), ("run", "each")]:
        ours, theirs = figures[f"{what}_many"][figure], figures[f"{what}_few"][figure]
        yield Row(f"{what} with {many:,} waiting / {few:,}", ours, theirs, goal=1.2)
    waiting, found = f"with {many:,} waiting", figures["run_many"]
    yield Row(f"time to the first result {waiting}", found["first"], unit="s", goal=1)
    yield Row(f"growth of memory {waiting}", found["memory"], unit="MB", goal=50)


# How soon a result is there -----------------------------------------------------------

HOLD = """
import os


def hold(path):
    os.open(path, os.O_WRONLY)
"""

LATENCY = """
import ast
import os
import subprocess
import sys
import time

from holding import hold
from measuring import say
from runforrest import TaskList, defer

# A task keeps a pipe open, which its kernel closes when its process has ended.
OBSERVER = '''
import os, select, sys, time
poll = select.poll()
pipes = {os.open(path, os.O_RDONLY | os.O_NONBLOCK): path for path in sys.argv[1:]}
for pipe in pipes:
    poll.register(pipe)
print("ready", flush=True)
while pipes:
    for pipe, event in poll.poll():
        now = time.monotonic()
        poll.unregister(pipe)
        print(pipes.pop(pipe), now, flush=True)
'''

count, nprocesses, autokill = map(ast.literal_eval, sys.argv[1:])
tasklist = TaskList("tasklist")
paths = [os.path.abspath(f"pipe{number}") for number in range(count)]
for path in paths:
    os.mkfifo(path)
    tasklist.schedule(defer(hold, path), metadata=path)
command = [sys.executable, "-c", OBSERVER, *paths]
observer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
assert observer.stdout.readline() == "ready\\n"
yielded = {}
for task in tasklist.run(nprocesses=nprocesses, autokill=autokill):
    yielded[task.metadata] = time.monotonic()
    assert task.errorvalue is None
ended = dict(line.split() for line in observer.stdout)
assert observer.wait() == 0
times = sorted(1000 * (yielded[path] - float(ended[path])) for path in paths)
say(median=times[count // 2], most=times[count * 9 // 10])
"""

CONSUMER = """
import sys
import time

from measuring import measured
from runforrest import TaskList, defer

count, nprocesses = map(int, sys.argv[1:3])
seconds, pause = map(float, sys.argv[3:])
tasklist = TaskList("tasklist")
for _ in range(count):
    tasklist.schedule(defer(time.sleep, seconds))
with measured():
    for task in tasklist.run(nprocesses=nprocesses):
        time.sleep(pause)
"""


def latency(bench):
    """From the end of a task's process to its being yielded; slow consumers"""
    (bench.directory / "holding.py").write_text(HOLD)
    count = bench.size(40, 2)
    sides = {
        (nprocesses, autokill): partial(bench.run, LATENCY, count, nprocesses, autokill)
        for nprocesses in (1, 2)
        for autokill in (None, 60)
    }
    figures = bench.in_turns(3, **{str(key): side for key, side in sides.items()})
    for nprocesses, autokill in sides:
        found = figures[str((nprocesses, autokill))]
        what = f"nprocesses={nprocesses}, autokill={autokill}"
        yield Row(f"median with {what}", found["median"], goal=10)
        yield Row(f"9 of 10 with {what}", found["most"])

    for nprocesses in (1, 2):
        count, seconds = bench.size(30, 4) * nprocesses, 0.1
        run = partial(bench.run, CONSUMER, count, nprocesses, seconds)
        pause = seconds / nprocesses  # as long as it takes until the next result
        figures = bench.in_turns(3, slow=partial(run, pause), fast=partial(run, 0))
        what = (
            f"{count} tasks of {seconds} s, nprocesses={nprocesses}, slow / no consumer"
        )
        yield Row(what, figures["slow"]["wall"], figures["fast"]["wall"], goal=1.15)


# Much data ----------------------------------------------------------------------------

LARGE = """
import atexit

from measuring import peak_memory


def note_peak():
    with open("peak", "w") as file:
        file.write(str(peak_memory()))


def make(kind, size):
    if kind == "bytes":
        return b"x" * size
    import numpy

    return numpy.full(size, 120, "uint8")


def make_in_task(kind, size):
    atexit.register(note_peak)  # which is after the result was written
    return make(kind, size)


def measure_in_task(data):
    atexit.register(note_peak)
    return len(data)
"""

LARGE_RESULT = """
import sys

from large import make_in_task
from measuring import measured, peak_memory, say
from runforrest import TaskList, defer

kind, size = sys.argv[1], int(sys.argv[2])
tasklist = TaskList("tasklist")
with measured():
    tasklist.schedule(defer(make_in_task, kind, size))
    [task] = tasklist.run(nprocesses=1)
    assert len(task.returnvalue) == size
say(runner=peak_memory(), child=float(open("peak").read()))
"""

LARGE_ARGUMENT = """
import sys

from large import make, measure_in_task
from measuring import measured, peak_memory, say
from runforrest import TaskList, defer

kind, size = sys.argv[1], int(sys.argv[2])
tasklist = TaskList("tasklist")
task = defer(measure_in_task, make(kind, size))
with measured():
    tasklist.schedule(task)
with measured(name="run"):
    [task] = tasklist.run(nprocesses=1)
    assert task.returnvalue == size
say(runner=peak_memory(), child=float(open("peak").read()))
"""

LARGE_PICKLE = """
import os
import pickle
import sys

from large import make
from measuring import measured

kind, size = sys.argv[1], int(sys.argv[2])
data = make(kind, size)
with measured():
    with open("data.pkl", "wb") as file:
        pickle.dump(data, file, 5)
        file.flush()
        os.fsync(file.fileno())
del data
with measured(name="load"):
    with open("data.pkl", "rb") as file:
        assert len(pickle.load(file)) == size
"""


def large(bench):
    """Results and arguments of 500 MB (less if there is not the memory)"""
    (bench.directory / "large.py").write_text(LARGE)
    size = min(bench.size(500, 5) * 10**6, _available_memory() // 8)
    kinds = ["bytes", *["array"] * bool(importlib.util.find_spec("numpy"))]
    for kind in kinds:
        figures = bench.in_turns(
            3,
            result=partial(bench.run, LARGE_RESULT, kind, size),
            argument=partial(bench.run, LARGE_ARGUMENT, kind, size),
            pickle=partial(bench.run, LARGE_PICKLE, kind, size),
        )
        comparisons = [
            ("result, in all / pickle.dump, fsync", "result", "wall", "wall"),
            ("argument, schedule / pickle.dump, fsync", "argument", "wall", "wall"),
            ("argument, run / pickle.load", "argument", "run", "load"),
        ]
        for what, role, ours, theirs in comparisons:
            ours, theirs = figures[role][ours], figures["pickle"][theirs]
            yield Row(f"{kind} as {what}", ours, theirs)
        for role in ("result", "argument"):
            for process in ("runner", "child"):
                what = f"{kind} as {role}, peak memory of the {process} / size"
                peak = figures[role][process]
                yield Row(what, peak, [size / 1e6] * len(peak), unit="MB")
    if kinds == ["bytes"]:
        raise Unavailable("numpy is not installed")


def _available_memory():
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        raise Unavailable("needs /proc")
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next(int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:")


# Show it ------------------------------------------------------------------------------

SECTIONS = {
    function.__name__: function
    for function in (cost, alternatives, schedule, latency, large)
}


def describe_machine():
    """Say when and where this is measured."""
    yield "date", time.strftime("%Y-%m-%d %H:%M")
    yield "system", platform.platform()
    yield "processors", os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield "memory", f"{memory / 1e9:.0f} GB"
    yield "Python", platform.python_version()
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, "not installed"


def print_table(head, lines):
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in [head, ["-" * width for width in widths], *lines]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("|", " | ".join(cells), "|", flush=True)


def plot(rows, file):
    """Draw the milliseconds per task of all that ran the task that does nothing."""
    from matplotlib.figure import Figure

    times = {row.what: row.theirs for row in rows if isinstance(row.theirs, list)}
    times["runforrest"] = rows[0].ours
    names = sorted(times, key=lambda name: -statistics.median(times[name]))
    medians = [statistics.median(times[name]) for name in names]
    colors = ["forestgreen" if name == "runforrest" else "silver" for name in names]
    figure = Figure(figsize=(7, 0.35 * len(names) + 1), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(names, medians, color=colors)
    axes.bar_label(bars, [f"{median:.3g}" for median in medians], padding=3)
    axes.set(xscale="log", xlabel="milliseconds per task, two at a time")
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="take tiny sizes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--plot", metavar="FILE", help="draw `alternatives` to a file")
    args = parser.parse_args()
    if args.plot and "alternatives" not in args.only:
        parser.error("--plot draws the section `alternatives`: add it to --only")
    if args.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install matplotlib")

    for what, value in describe_machine():
        print(f"- {what}: {value}")
    with tempfile.TemporaryDirectory(prefix="benchmark") as directory:
        bench = Bench(directory, args.quick)
        for name in args.only:
            started, rows, reason = time.perf_counter(), [], ""
            try:
                for row in SECTIONS[name](bench):
                    rows.append(row)
            except Unavailable as error:
                reason = f" Incomplete: {error}."
            print(f"\n## {name}: {SECTIONS[name].__doc__}\n")
            head = ["what", "ours", "theirs", "ratio", "goal", "met"]
            print_table(head, [row.cells() for row in rows])
            print(f"\nIt took {time.perf_counter() - started:.0f} s.{reason}")
            if args.plot and name == "alternatives":
                plot([row for row in rows if "CPU" not in row.what], args.plot)


if __name__ == "__main__":
    main()
