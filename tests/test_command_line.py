"""Run one task by hand: python -m runforrest infile outfile."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import dill
import pytest

SCRIPT = """
import os
import signal
import sys
from runforrest import TaskList, defer

def divide(numerator, denominator):
    secret = 42 * numerator
    return numerator / denominator

def outer(numerator, denominator):
    return divide(numerator, denominator)

def look(name):
    return eval(name)

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


def state(path):
    return path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino


# The infile, the outfile and the exit code --------------------------------------------


def test_the_outfile_of_a_success_has_the_result_and_the_exit_code_is_0(
    infile, tmp_path
):
    process = runforrest(infile("defer(outer, 6, 4), 'metadata'"), tmp_path / "out")
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    task = load(tmp_path / "out")
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
    assert "in divide" in task.__report__


@pytest.mark.parametrize("denominator", [0, 1])
def test_the_infile_is_never_changed_and_nothing_is_left_beside_the_files(
    denominator, infile, tmp_path
):
    path = infile(f"defer(outer, 6, {denominator})")
    before = state(path)
    (tmp_path / "results").mkdir()
    for options in ([], ["-r"], ["-p"]):
        runforrest(path, tmp_path / "results" / "out", *options)
    assert state(path) == before
    assert [*path.parent.iterdir()] == [path]
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["out"]
    assert not list((tmp_path / "task list" / "done").iterdir())


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

def divide(numerator, denominator):
    return numerator / denominator

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


def test_a_result_that_can_not_be_pickled_is_a_failure(infile, tmp_path):
    process = runforrest(infile("defer(lambda: (n for n in 'ab'))"), tmp_path / "out")
    assert process.returncode == 1
    task = load(tmp_path / "out")
    assert task.returnvalue is None
    assert "generator" in str(task.errorvalue)


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


@pytest.mark.parametrize("option", ["-p", "--do_print"])
def test_print_prints_the_error_with_its_full_traceback(option, infile, tmp_path):
    process = runforrest(infile("defer(outer, 6, 0)"), tmp_path / "out", option)
    assert process.returncode == 1
    assert process.stderr.startswith("Traceback (most recent call last):\n")
    assert process.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert process.stderr.count("return divide(numerator, denominator)") == 1
    assert type(load(tmp_path / "out").errorvalue) is ZeroDivisionError


@pytest.mark.parametrize("option", ["-r", "--do_raise"])
def test_raise_raises_the_error_after_writing_it(option, infile, tmp_path):
    process = runforrest(infile("defer(outer, 6, 0)"), option, tmp_path / "out")
    assert process.returncode == 1
    assert process.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "return divide(numerator, denominator)" in process.stderr
    assert type(load(tmp_path / "out").errorvalue) is ZeroDivisionError


def test_print_and_raise_do_nothing_if_all_is_well(infile, tmp_path):
    process = runforrest("-p", "-r", infile("defer(outer, 6, 4)"), tmp_path / "out")
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert load(tmp_path / "out").returnvalue == 1.5


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


@pytest.mark.parametrize("minor", [0, 999])
def test_a_file_of_another_version_of_python_says_which_one_to_use(
    minor, infile, tmp_path
):
    path = infile("defer(outer, 6, 4)")
    other = f"import sys; sys.version_info = 3, {minor}"
    (tmp_path / "sitecustomize.py").write_text(other)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    process = runforrest(path, tmp_path / "out", env=environment)
    assert process.returncode == 1
    version = f"run it with Python {sys.version_info[0]}.{sys.version_info[1]}"
    assert version in str(load(tmp_path / "out").errorvalue)


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
    session = tmp_path / "task list" / "todo" / ".session.pkl"

    assert runforrest(path, tmp_path / "without").returncode == 1
    assert type(load(tmp_path / "without").errorvalue) is NameError
    assert runforrest(path, tmp_path / "with", option, session, "-r").returncode == 0
    assert load(tmp_path / "with").returnvalue == 23


def test_help_tells_about_all_arguments_and_exits_with_0():
    process = runforrest("--help", cwd="/")
    assert (process.returncode, process.stderr) == (0, "")
    for word in (
        "python -m runforrest",
        "infile",
        "outfile",
        "--do_raise",
        "--do_print",
        "--sessionfile",
    ):
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


def test_a_system_that_is_not_posix_is_told_what_is_needed():
    source = "import sys; sys.modules['fcntl'] = None; import runforrest"
    process = runforrest(python=("-c", source))
    assert "ImportError: runforrest needs a POSIX system" in process.stderr


def test_the_infile_is_refused_as_the_outfile_and_stays(infile, tmp_path):
    path = infile("defer(outer, 6, 4)")
    content = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    for name in path, os.path.relpath(path, tmp_path), "link":
        process = runforrest(path, name, cwd=tmp_path)
        assert process.returncode != 0
        assert "is the infile" in process.stderr
    assert path.read_bytes() == content
    assert (tmp_path / "link").is_symlink()


def test_an_outfile_that_is_no_file_is_refused_and_stays(infile, tmp_path):
    path = infile("defer(outer, 6, 4)")
    os.mkfifo(tmp_path / "pipe")
    for name in "pipe", "/dev/null", ".":
        process = runforrest(path, name, cwd=tmp_path)
        assert process.returncode != 0
        assert "or no file" in process.stderr
    assert (tmp_path / "pipe").is_fifo()
    assert Path(os.devnull).is_char_device()


def test_main_can_be_called_and_returns_the_exit_code(infile, script, tmp_path):
    path = infile("defer(outer, 6, 4)")
    output = script.run(
        """
import sys
import runforrest

infile, failing = sys.argv[1:]
print(runforrest.main([infile, "out"]))
print(runforrest.main([infile, "out again", "-p", "-r"]))
sys.argv[1:] = [infile, "out from argv"]
print(runforrest.main())
print(runforrest.main([failing, "failed"]))
try:
    runforrest.main([failing, "failed", "-r"])
except ZeroDivisionError as error:
    print(error)
try:
    runforrest.main(["-h"])
except SystemExit as end:
    print(end.code)
""",
        str(path),
        str(make_failing(script, tmp_path)),
        name="by_hand.py",
    )
    lines = output.splitlines()
    assert lines[:4] == ["0", "0", "0", "1"]
    assert lines[4].endswith("by zero")
    assert lines[-1] == "0"
    for name in ("out", "out again", "out from argv"):
        assert load(tmp_path / name).returnvalue == 1.5
    assert type(load(tmp_path / "failed").errorvalue) is ZeroDivisionError


def make_failing(script, tmp_path):
    script.run("""
from runforrest import TaskList, defer

TaskList("failing").schedule(defer(divmod, 1, 0).thing)
""")
    (path,) = (tmp_path / "failing" / "todo").iterdir()
    return path
