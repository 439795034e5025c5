"""How well are the functions of Python's own standard library documented?

Each source file is a task of its own. Three more tasks show what comes back from those
that crash, hang, or raise an error. Usage: python tests/example.py [FILES [DIRECTORY]]
"""

import ast
import ctypes
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runforrest import TaskList, defer

try:
    from tqdm import tqdm
except ImportError:  # no bar, then

    def tqdm(run):
        print(f"{len(run)} tasks ...")
        return run


FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef


class Source(NamedTuple):
    name: str
    tree: ast.Module


@dataclass
class Finding:
    name: str
    functions: int
    documented: int
    longest: str
    lines: int


def prepare(path):
    return Source(path.stem, ast.parse(path.read_bytes(), path))


def count_lines(function):
    return function.end_lineno - function.lineno + 1


def dostuff(tree, name):
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    documented = sum(ast.get_docstring(function) is not None for function in functions)
    longest = max(functions, key=count_lines, default=None)
    if longest is None:
        return Finding(name, 0, 0, "", 0)
    return Finding(name, len(functions), documented, longest.name, count_lines(longest))


def segfault():
    ctypes.string_at(0)


def hang():
    time.sleep(1000)


def main(directory, files=100):
    tasklist = TaskList(directory, exist_ok=True)
    for task in defer(segfault), defer(hang), defer(prepare, Path("gone.py")):
        tasklist.schedule(task)
    for path in sorted(Path(os.__file__).parent.glob("*.py"))[:files]:
        task = defer(prepare, path)
        task = defer(dostuff, task[1], task.name)
        tasklist.schedule(task, metadata=path.name)

    findings, failures = [], Counter()
    for task in tqdm(tasklist.run(nprocesses=4, autokill=5)):
        if task.errorvalue is None:
            findings.append(task.returnvalue)
        else:
            reason = str(task.errorvalue).rpartition("]' ")[2]  # without the command
            failures[f"{type(task.errorvalue).__name__}: {reason}"] += 1

    print(f"\n{len(findings):5} done")
    print(f"{failures.total():5} failed")
    for reason, number in failures.items():
        print(f"{number:10} {reason}")
    functions = sum(finding.functions for finding in findings)
    documented = sum(finding.documented for finding in findings)
    print(f"\n{functions:5} functions, of which {documented} have a docstring")
    print("\nlines  longest functions")
    for finding in sorted(findings, key=lambda f: f.lines, reverse=True)[:5]:
        print(f"{finding.lines:5}  {finding.name}.{finding.longest}")


number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
if len(sys.argv) > 2:
    main(sys.argv[2], number)
else:
    with tempfile.TemporaryDirectory() as temporary:
        main(temporary, number)
