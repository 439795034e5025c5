"""Killed at any system call, and system calls that fail."""

import shutil
import subprocess
import sys

import dill
import pytest
from conftest import STATES, need, processes_of, wait_for

from runforrest import TaskList

SCHEDULE = """
import os
from runforrest import TaskList, defer

def record(number):
    with open("journal", "a") as journal:
        print(number, file=journal)
    return number

tasklist = TaskList("tasklist", exist_ok=True, pre_clean=False)
for number in range(2):
    tasklist.schedule(defer(record, number), metadata=number)
"""
RUN = """
import sys
from runforrest import TaskList

if sys.argv[1:]:
    sys.executable = sys.argv[1]
for task in TaskList("tasklist", noschedule_if_exist=True).run(nprocesses=1):
    print(task.metadata, task.returnvalue, repr(task.errorvalue))
"""
CALLS = ["rename", "unlink", "fsync", "flock", "write", "openat"]
CALLED = {("task", call) for call in CALLS} - {("task", "flock")}
CALLED |= {("runner", call) for call in ("unlink", "flock", "rename", "openat")}


@pytest.fixture(autouse=True)
def strace_is_here():
    need(shutil.which("strace") and sys.platform == "linux", "there is no strace")


def strace(call, fault, *options):
    return (
        *("strace", "-f", "-A", "-o", "strace.log", *options),
        *("-e", f"trace={call}", "-e", f"inject={call}:{fault}"),
    )


def files(directory):
    """The options of strace for calls that concern the files of tasks."""
    todo = sorted((directory / "tasklist" / "todo").iterdir())
    ends = "", ".done", ".fail", ".done.tmp", ".fail.tmp"
    paths = [path.with_name(path.name + end) for path in todo for end in ends]
    paths += [path.parents[1] / state / path.name for path in todo for state in STATES]
    return [option for path in paths for option in ("-P", str(path))]


def check(directory, scheduled):
    """All tasks are there, whole; return the numbers of those that are done."""
    tasklist = TaskList(directory / "tasklist", noschedule_if_exist=True)
    assert all(task.metadata in range(2) for task in tasklist.todo_tasks())
    assert all(task.errorvalue is not None for task in tasklist.fail_tasks())
    done = [task.returnvalue for task in tasklist.done_tasks()]
    assert set(done) <= {0, 1}
    assert {path.name for path in files_of_tasks(directory)} >= scheduled
    return done


def files_of_tasks(directory):
    """All that are whole; the outcomes under the names that they shall have."""
    for path in directory.glob("tasklist/*/*"):
        if path.suffix != ".tmp" and not path.name.startswith("."):
            assert hasattr(dill.loads(path.read_bytes()), "metadata")
            yield path.with_suffix("") if path.suffix in (".done", ".fail") else path


def journal(directory):
    path = directory / "journal"
    return path.read_text().split() if path.exists() else []


def killed_at(call, number, script, wrapped):
    """Run two tasks, and kill the runner or the tasks at a call, if there is one."""
    shutil.rmtree(script.directory / "tasklist", ignore_errors=True)
    (script.directory / "journal").unlink(missing_ok=True)
    (script.directory / "strace.log").unlink(missing_ok=True)
    script.run(SCHEDULE, name="schedule.py")
    todo = script.directory / "tasklist" / "todo"
    scheduled = {path.name for path in todo.iterdir()}
    watched = files(script.directory) if call in ("write", "openat") else []
    tracer = strace(call, f"signal=KILL:when={number}", *watched)
    if wrapped:
        wrapper = script.write(
            f'#!/bin/sh\nexec {" ".join(tracer)} {sys.executable} "$@"'
        )
        wrapper.chmod(0o755)
        process = script.start(RUN, wrapper, name="run.py")
    else:  # and not the tasks, which are other programs
        python = (*tracer, "-b", "execve", sys.executable)
        process = script.start(RUN, name="run.py", python=python)
    _, error = process.communicate(timeout=60)
    wait_for(lambda: not processes_of(todo), seconds=1 if not wrapped else 10)
    done = check(script.directory, scheduled)
    completed = [
        str(dill.loads(path.read_bytes()).returnvalue) for path in todo.glob("*.done")
    ]
    before = journal(script.directory)
    script.run(RUN, name="run.py")
    again = journal(script.directory)[len(before) :]
    assert not {*completed, *map(str, done)} & set(again)
    assert not [path for path in todo.iterdir() if path.suffix != ".tmp"]
    check(script.directory, scheduled)
    if wrapped:
        assert process.returncode == 0, error
    else:
        assert {path.name for path in todo.parent.glob("done/*")} == scheduled
    return "killed by SIGKILL" in (script.directory / "strace.log").read_text()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("victim", ["runner", "task"])
def test_nothing_is_lost_or_done_twice_by_what_is_killed_at_a(victim, call, script):
    number, wrapped = 1, victim == "task"
    while killed_at(call, number, script, wrapped):
        number += 1
    # The runner locks and removes the files, and the task writes them.
    assert number > 1 or (victim, call) not in CALLED


@pytest.mark.parametrize("call", ["rename", "unlink", "fsync"])
def test_nothing_half_written_is_left_by_what_is_killed_while_it_schedules(
    call, script
):
    for number in range(1, 10):
        python = (*strace(call, f"signal=KILL:when={number}"), sys.executable)
        process = script.start(SCHEDULE, name="schedule.py", python=python)
        process.communicate(timeout=60)
        if process.returncode == 0:
            break
        check(script.directory, set())
    assert number > 1
    script.run(RUN, name="run.py")
    assert len(check(script.directory, set())) >= 2
    assert {int(number) for number in journal(script.directory)} == {0, 1}


# Calls that fail ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2], ids=["its file", "its directory"])
def test_a_result_that_can_not_be_forced_to_disk_is_a_failure(number, script):
    script.run(SCHEDULE, name="schedule.py")
    tracer = " ".join(strace("fsync", f"error=EIO:when={number}"))
    wrapper = script.write(f'#!/bin/sh\nexec {tracer} {sys.executable} "$@"')
    wrapper.chmod(0o755)
    output = script.run(RUN, wrapper, name="run.py")
    assert output.count("None OSError(5, 'Input/output error')") == 2
    assert len(list(script.directory.glob("tasklist/fail/*"))) == 2


def test_a_task_that_can_not_be_forced_to_disk_is_not_scheduled(script):
    python = (*strace("fsync", "error=EIO:when=4+"), sys.executable)
    source = "from runforrest import TaskList; TaskList('tasklist')"
    script.run(source)
    process = script.start(SCHEDULE, name="schedule.py", python=python)
    _, error = process.communicate(timeout=60)
    assert "Input/output error" in error
    names = [path.name for path in script.directory.glob("tasklist/todo/*")]
    assert names
    assert all(name.endswith(".pkl") for name in names)


@pytest.mark.parametrize(
    ("calls", "fault", "told"),
    [
        ("flock", "ENOLCK", "No locks available"),
        ("vfork,fork,clone", "EAGAIN", "Resource temporarily unavailable"),
    ],
)
def test_no_task_is_run_if_files_can_not_be_locked_or_processes_started(
    calls, fault, told, script
):
    script.run(SCHEDULE, name="schedule.py")
    python = (*strace(calls, f"error={fault}"), sys.executable)
    process = script.start(RUN, name="run.py", python=python)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told in error
    assert (output, journal(script.directory)) == ("", [])
    assert not processes_of(script.directory)
    script.run(RUN, name="run.py")
    assert sorted(journal(script.directory)) == ["0", "1"]


def test_a_directory_that_can_not_be_listed_is_not_taken_for_an_empty_one(script):
    output = script.run("""
import os, resource
from runforrest import TaskList, defer

tasklist = TaskList("tasklist")
tasklist.schedule(defer(abs, -1))
tasklist.run(), tasklist.todo_tasks()  # import what they need
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/", os.O_RDONLY)
except OSError:
    pass
for list_files in tasklist.run, tasklist.todo_tasks, tasklist.clean:
    try:
        list_files()
    except OSError as error:
        print(error.strerror)
""")
    assert output == "Too many open files\n" * 3


def test_nothing_is_lost_if_there_are_too_many_open_files(script):
    script.run(SCHEDULE, name="schedule.py")
    scheduled = {path.name for path in script.directory.glob("tasklist/todo/*")}
    failed = 0
    for limit in range(4, 100):
        limited = f"""
import resource, multiprocessing.pool, queue, shlex, signal, subprocess, threading
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
{RUN}"""
        process = script.start(limited, name="limited.py", stderr=subprocess.PIPE)
        _, error = process.communicate(timeout=60)
        check(script.directory, scheduled)
        assert not processes_of(script.directory / "tasklist")
        if process.returncode == 0:
            break
        failed += "Too many open files" in error
    assert failed
    script.run(RUN, name="run.py")
    assert sorted(check(script.directory, scheduled)) == [0, 1]
    assert sorted(journal(script.directory)) == ["0", "1"]
