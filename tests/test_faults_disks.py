"""Disks that are full, read-only, frozen, broken, or lose their power."""

import errno
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import counts, files_in, need, schedule, wait_for

from runforrest import TaskList, defer

POWER_OFF = 0x8004587D  # EXT4_IOC_SHUTDOWN
WITHOUT_THE_LOG = (2).to_bytes(4, "little")


def call(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def mount(tmp_path):
    """A function that mounts something on a directory, until the test has ended."""
    need(os.geteuid() == 0, "only root can mount file systems")
    need(shutil.which("mount"), "there is no mount command")
    mounted = []

    def mount(*arguments, name="disk"):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        call("mount", *map(str, arguments), str(directory))
        mounted.append(directory)
        return directory

    yield mount
    for directory in reversed(mounted):
        subprocess.run(["umount", "--lazy", directory], check=False)


@pytest.fixture
def small_disk(mount):
    """A disk of one megabyte."""
    return mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")


@pytest.fixture
def image(tmp_path):
    """A file system in a file, for mount -o loop."""
    need(shutil.which("mkfs.ext4"), "there is no mkfs.ext4")
    need(Path("/dev/loop-control").exists(), "there are no loop devices")
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    call("mkfs.ext4", "-q", "-F", str(path))
    return path


def bytes_of(number):
    return os.urandom(number)


def fill(directory, spare=0):
    """Write a file that leaves no room but some bytes; return its path."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
        file.truncate(file.tell() - spare)
    return path


# Full disks ---------------------------------------------------------------------------


def test_a_task_for_which_there_is_no_room_is_an_error_and_leaves_nothing(small_disk):
    tasklist = TaskList(small_disk / "tasklist")
    tasklist.schedule(defer(abs, -1))
    before = files_in(small_disk / "tasklist" / "todo")
    with pytest.raises(OSError, match="No space left"):
        tasklist.schedule(defer(len, bytes_of(2 << 20)))
    assert files_in(small_disk / "tasklist" / "todo") == before
    assert [task.returnvalue for task in tasklist.run()] == [1]


def test_a_result_for_which_there_is_no_room_is_a_failure_of_its_task(small_disk):
    tasklist = TaskList(small_disk / "tasklist")
    tasklist.schedule(defer(bytes_of, 2 << 20), metadata="large")
    tasklist.schedule(defer(abs, -1), metadata="small")
    tasks = {task.metadata: task for task in tasklist.run(nprocesses=1)}
    assert tasks["large"].errorvalue.errno == errno.ENOSPC
    assert tasks["small"].returnvalue == 1
    (failed,) = tasklist.fail_tasks()
    assert failed.errorvalue.errno == errno.ENOSPC
    assert counts(small_disk / "tasklist") == [0, 1, 1]


def test_a_task_on_a_disk_without_any_room_is_kept_in_fail_and_can_run_again(
    small_disk,
):
    tasklist = TaskList(small_disk / "tasklist")
    tasklist.schedule(defer(abs, -1))
    (path,) = (small_disk / "tasklist" / "todo").iterdir()
    before = path.read_bytes()
    filler = fill(small_disk)
    (task,) = tasklist.run()
    assert task.errorvalue.errno == errno.ENOSPC
    failed = small_disk / "tasklist" / "fail" / path.name
    assert failed.read_bytes() == before
    assert counts(small_disk / "tasklist") == [0, 0, 1]
    filler.unlink()
    failed.rename(path)
    assert [task.returnvalue for task in tasklist.run()] == [1]


# Read-only disks ----------------------------------------------------------------------


def test_a_disk_that_is_read_only_is_an_error_that_loses_nothing(mount):
    disk = mount("-t", "tmpfs", "tmpfs")
    tasklist = TaskList(disk / "tasklist")
    tasklist.schedule(defer(abs, -1))
    call("mount", "-o", "remount,ro", str(disk))
    with pytest.raises(OSError, match="Read-only"):
        tasklist.schedule(defer(abs, -2))
    with pytest.raises(OSError, match="Read-only"):
        list(tasklist.run())
    assert len(list(tasklist.todo_tasks())) == 1
    call("mount", "-o", "remount,rw", str(disk))
    assert [task.returnvalue for task in tasklist.run()] == [1]


# Power cuts ---------------------------------------------------------------------------


def cut_the_power(disk):
    """End all that goes to a disk at once, as if it had never been sent."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, POWER_OFF, WITHOUT_THE_LOG)
    except OSError as error:
        need(False, f"this kernel can't cut the power of a disk: {error}")
    finally:
        os.close(descriptor)


def unmount(disk):
    wait_for(lambda: not subprocess.run(["umount", disk], check=False).returncode)


def test_what_was_scheduled_survives_a_power_cut(mount, image):
    disk = mount("-o", "loop", image)
    tasklist = TaskList(disk / "new" / "tasklist")
    for number in range(5):
        tasklist.schedule(defer(abs, -number))
    cut_the_power(disk)
    unmount(disk)
    mount("-o", "loop", image)
    again = TaskList(disk / "new" / "tasklist", noschedule_if_exist=True)
    assert all(path.stat().st_size for path in disk.glob("new/tasklist/*/*.pkl"))
    assert [task.returnvalue for task in again.run(nprocesses=1)] == [0, 1, 2, 3, 4]


def test_what_was_yielded_survives_a_power_cut_and_is_not_run_again(
    mount, image, tmp_path
):
    disk = mount("-o", "loop", image)
    tasklist = TaskList(disk / "tasklist")
    ran = [tmp_path / "first", tmp_path / "second"]
    schedule(
        tasklist, defer(os.rmdir, ran[0]), *[defer(os.mkdir, path) for path in ran]
    )
    schedule(tasklist, defer(time.sleep, 1000))
    run = iter(tasklist.run(nprocesses=1))
    assert [type(next(run).errorvalue) for _ in range(3)] == OUTCOMES
    cut_the_power(disk)
    run.close()
    unmount(disk)
    mount("-o", "loop", image)
    assert all(path.stat().st_size for path in disk.glob("tasklist/*/*.pkl*"))
    again = TaskList(disk / "tasklist", noschedule_if_exist=True)
    found = [
        type(task.errorvalue) for task in [*again.fail_tasks(), *again.done_tasks()]
    ]
    left = iter(again.run(nprocesses=1))
    while len(found) < 3:
        found.append(type(next(left).errorvalue))
    assert sorted(found, key=str) == sorted(OUTCOMES, key=str)
    left.close()
    assert len(list(again.todo_tasks())) == 1


OUTCOMES = [FileNotFoundError, type(None), type(None)]


# Frozen disks -------------------------------------------------------------------------


def test_a_task_that_waits_for_a_frozen_disk_stops_neither_the_run_nor_the_script(
    mount, image, script
):
    disk = mount("-o", "loop", image)
    call("fsfreeze", "--freeze", str(disk))
    try:
        output = script.run(
            """
import sys
from runforrest import TaskList, defer

def write(path):
    with open(path, "wb", buffering=0) as file:
        file.write(b"never")

tasklist = TaskList("tasklist", logfile="log")  # which holds no pipe open
tasklist.schedule(defer(write, sys.argv[1]))
tasklist.schedule(defer(abs, -1))
for task in tasklist.run(nprocesses=1, autokill=1):
    print(task.returnvalue, type(task.errorvalue).__name__)
""",
            str(disk / "file"),
            timeout=60,
        )
    finally:
        call("fsfreeze", "--unfreeze", str(disk))
    assert output == "None TimeoutExpired\n1 NoneType\n"
