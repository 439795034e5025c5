"""Run one task by hand: python -m runforrest infile outfile."""

import os
import shlex
import signal
import subprocess
import sys

import dill
import pytest
from conftest import counts, files_in

SCRIPT = """
import os, signal, sys
from runforrest import TaskList, defer

def divide(numerator, denominator):
    secret = 42 * numerator
    return numerator / denominator

def outer(numerator, denominator): return divide(numerator, denominator)
def look(name): return eval(name)

def move(directory):
    os.chdir(directory)
    return os.getcwd()

class Deadly:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

def halt():
    here = "stopped here"
    breakpoint()
    return here

constant = 23
tasklist = TaskList("task list")
tasklist.schedule({task})
"""


@pytest.fixture
def infile(script):
    """A function that schedules a task in a script, and returns the file of it."""

    def schedule(task):
        script.run(SCRIPT.format(task=task))
        (path,) = (script.directory / "task list" / "todo").iterdir()
        return path

    return schedule


def runforrest(*args, python=("-m", "runforrest"), **options):
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, *python, *map(str, args)], **options)


def load(path):
    return dill.loads(path.read_bytes())


# The infile, the outfile and the exit code --------------------------------------------


@pytest.mark.parametrize("options", [[], ["-r"], ["-p"], ["-p", "-r"]], ids=str)
def test_the_outfile_of_a_success_has_the_result_and_the_exit_code_is_0(
    options, infile, tmp_path
):
    path, out = infile("defer(outer, 6, 4), 'metadata'"), tmp_path / "out"
    process = runforrest(*options, path, out)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    task = load(out)
    assert (task.returnvalue, task.errorvalue, task.metadata) == (1.5, None, "metadata")
    assert 0 < task.runtime < 10


def test_the_outfile_of_a_failure_has_the_error_and_the_exit_code_is_1(
    infile, tmp_path
):
    process = runforrest(infile("defer(outer, 6, 0), 'metadata'"), tmp_path / "out")
    assert (process.returncode, process.stdout, process.stderr) == (1, "", "")
    task = load(tmp_path / "out")
    assert (task.returnvalue, task.metadata) == (None, "metadata")
    assert type(task.errorvalue) is ZeroDivisionError
    assert b"in divide" in (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("denominator", [0, 1])
def test_the_infile_is_never_changed_and_nothing_is_left_beside_the_files(
    denominator, infile, tmp_path
):
    path = infile(f"defer(outer, 6, {denominator})")
    before = path.read_bytes(), path.stat()
    (tmp_path / "results").mkdir()
    for options in ([], ["-r"], ["-p"]):
        runforrest(path, tmp_path / "results" / "out", *options)
    after = path.read_bytes(), path.stat()
    assert after[0] == before[0]
    assert (after[1].st_mtime_ns, after[1].st_ino) == (
        before[1].st_mtime_ns,
        before[1].st_ino,
    )
    assert files_in(path.parent) == [path.name]
    assert files_in(tmp_path / "results") == ["out"]
    assert counts(tmp_path / "task list") == [1, 0, 0]


def test_paths_are_relative_to_where_the_command_is_run(infile, tmp_path):
    path = infile("defer(move, '/')")
    (tmp_path / "elsewhere").mkdir()
    relative = os.path.relpath(path, tmp_path / "elsewhere")
    process = runforrest(relative, "out", cwd=tmp_path / "elsewhere")
    assert process.returncode == 0, process.stderr
    assert load(tmp_path / "elsewhere" / "out").returnvalue == "/"


def test_a_module_beside_the_script_is_found_from_any_directory(script, tmp_path):
    script.write("def work():\n    return 'beside'\n", "project/beside.py")
    script.run(
        """
from runforrest import TaskList, defer
import beside

TaskList("tasklist").schedule(defer(beside.work))
""",
        name="project/script.py",
    )
    (path,) = (tmp_path / "tasklist" / "todo").iterdir()
    assert runforrest(path, tmp_path / "out", cwd="/").returncode == 0
    assert load(tmp_path / "out").returnvalue == "beside"


def test_a_failed_file_is_run_by_the_command_that_its_error_tells(script, tmp_path):
    output = script.run("""
from runforrest import TaskList, defer

def divide(numerator, denominator): return numerator / denominator

tasklist = TaskList("task list; with 'quotes'")
tasklist.schedule(defer(divide, 1, 0))
for task in tasklist.run():
    print(*task.errorvalue.__notes__, sep="\\n")
""")
    (command,) = [line for line in output.splitlines() if "python -m" in line]
    python, *arguments = shlex.split(command[command.index("python") :])
    assert python == "python"
    process = runforrest(python=arguments, cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "in divide" in process.stderr
    assert type(load(tmp_path / "result.pkl").errorvalue) is ZeroDivisionError


def test_an_outfile_is_replaced_as_a_whole(infile, tmp_path):
    (tmp_path / "out").write_text("what was here before")
    (tmp_path / "link").hardlink_to(tmp_path / "out")
    assert runforrest(infile("defer(outer, 6, 4)"), tmp_path / "out").returncode == 0
    assert load(tmp_path / "out").returnvalue == 1.5
    assert (tmp_path / "link").read_text() == "what was here before"


@pytest.mark.parametrize("task", ["defer(Deadly)", "defer(list, [1, defer(Deadly)])"])
def test_an_outfile_is_not_touched_if_the_process_is_killed_while_it_is_written(
    task, infile, tmp_path
):
    path = infile(task)
    for before in (None, "what was here before"):
        if before:
            (tmp_path / "out").write_text(before)
        assert runforrest(path, tmp_path / "out").returncode == -signal.SIGKILL
        assert (tmp_path / "out").exists() == bool(before)
    assert (tmp_path / "out").read_text() == before


@pytest.mark.parametrize("options", [[], ["-r"]], ids=str)
@pytest.mark.parametrize("code", ["", "0", "3", "None"])
def test_a_task_that_exits_is_a_failure(code, options, infile, tmp_path):
    path = infile(f"defer(sys.exit, {code})")
    assert runforrest(path, tmp_path / "out", *options).returncode == 1
    assert type(load(tmp_path / "out").errorvalue) is SystemExit


@pytest.mark.parametrize(
    "content", [None, b"", b"not a task", dill.dumps({"not": "a task"})], ids=str
)
def test_an_infile_that_is_missing_or_broken_is_an_error_without_an_outfile(
    content, tmp_path
):
    path = tmp_path / "in.pkl"
    if content is not None:
        path.write_bytes(content)
    process = runforrest(path, tmp_path / "out")
    assert process.returncode not in (0, None)
    assert "in.pkl" in process.stderr
    assert not (tmp_path / "out").exists()


# Options ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-p", "--do_print", "-r", "--do_raise"])
def test_print_and_raise_tell_the_traceback_once_after_writing_the_error(
    option, infile, tmp_path
):
    process = runforrest(infile("defer(outer, 6, 0)"), option, tmp_path / "out")
    assert process.returncode == 1
    assert process.stderr.startswith("Traceback (most recent call last):\n")
    assert process.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert process.stderr.count("return divide(numerator, denominator)") == 1
    assert type(load(tmp_path / "out").errorvalue) is ZeroDivisionError


def test_a_debugger_stops_in_the_frame_of_the_function_that_failed(infile, tmp_path):
    path = infile("defer(outer, 2, 0)")
    options = ["-r"]
    if sys.version_info[:3] == (3, 13, 0):  # whose debugger takes options for its own
        options.insert(0, "--")
    process = runforrest(
        path,
        tmp_path / "out",
        *options,
        python=("-m", "pdb", "-m", "runforrest"),
        cwd="/",
        input="continue\np secret\nup\np numerator + 5\nquit\nquit\n",
    )
    assert "divide()" in process.stdout
    assert "(Pdb) 84\n" in process.stdout
    assert "(Pdb) 7\n" in process.stdout
    assert type(load(tmp_path / "out").errorvalue) is ZeroDivisionError


def test_a_breakpoint_in_a_task_stops_there(infile, tmp_path):
    process = runforrest(infile("defer(halt)"), tmp_path / "out", input="p here\nc\n")
    assert process.returncode == 0
    assert "'stopped here'" in process.stdout
    assert load(tmp_path / "out").returnvalue == "stopped here"


@pytest.mark.parametrize("option", ["-s", "--sessionfile"])
def test_a_session_file_restores_the_globals_of_the_script(option, script, tmp_path):
    source = SCRIPT.format(task="defer(look, 'constant')")
    script.run(source + "assert list(tasklist.run(save_session=True))\n")
    (path,) = (tmp_path / "task list" / "done").iterdir()
    session = tmp_path / "task list" / "todo" / "session.pkl.globals"

    assert runforrest(path, tmp_path / "without").returncode == 1
    assert type(load(tmp_path / "without").errorvalue) is NameError
    assert runforrest(path, tmp_path / "with", option, session, "-r").returncode == 0
    assert load(tmp_path / "with").returnvalue == 23


def test_help_tells_about_all_arguments_and_exits_with_0():
    process = runforrest("--help", cwd="/")
    assert (process.returncode, process.stderr) == (0, "")
    for word in "infile", "outfile", "--do_raise", "--do_print", "--sessionfile":
        assert word in process.stdout
    assert runforrest("-h").stdout == process.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["in"], ["in", "-r"], ["in", "out", "more"], ["in", "out", "-x"]],
    ids=str,
)
def test_wrong_arguments_are_explained_and_nothing_is_done(arguments, tmp_path):
    process = runforrest(*arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert "usage: python -m runforrest" in process.stderr
    assert not list(tmp_path.iterdir())


# Call it from Python ------------------------------------------------------------------


def test_main_can_be_called_and_returns_the_exit_code(infile, script, tmp_path):
    output = script.run(
        """
import sys, runforrest

print(runforrest.main([*sys.argv[1:], "out"]))
try:
    runforrest.main([*sys.argv[1:], "out", "-r"])
except ZeroDivisionError as error:
    print(error)
sys.argv.append("out from argv")
print(runforrest.main())
""",
        str(infile("defer(outer, 6, 0)")),
        name="by_hand.py",
    )
    assert output == "1\ndivision by zero\n1\n"
    for name in ("out", "out from argv"):
        assert type(load(tmp_path / name).errorvalue) is ZeroDivisionError
