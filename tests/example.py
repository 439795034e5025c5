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

from runforrest import TaskList, defer

try:
    from tqdm import tqdm
except ImportError:  # no bar, then
    tqdm = iter


@dataclass
class Finding:
    name: str
    functions: int
    documented: int


def prepare(path):
    return ast.parse(path.read_bytes(), path)


def dostuff(statements, name):
    nodes = [node for statement in statements for node in ast.walk(statement)]
    kinds = ast.FunctionDef, ast.AsyncFunctionDef
    functions = [node for node in nodes if isinstance(node, kinds)]
    documented = [node for node in functions if ast.get_docstring(node)]
    return Finding(name, len(functions), len(documented))


def main(files, directory):
    tasklist = TaskList(directory, exist_ok=True)
    tasklist.schedule(defer(ctypes.string_at, 0))  # a segmentation fault
    tasklist.schedule(defer(time.sleep, 1000))
    tasklist.schedule(defer(prepare, Path("gone.py")))
    for path in sorted(Path(os.__file__).parent.glob("*.py"))[:files]:
        task = defer(prepare, path)
        tasklist.schedule(defer(dostuff, task.body, path.stem), metadata=path.name)

    findings, failures = [], Counter()
    run = tasklist.run(nprocesses=4, autokill=5)
    print(f"{len(run)} tasks ...")
    for task in tqdm(run):
        if task.errorvalue is None:
            findings.append(task.returnvalue)
        else:
            reason = str(task.errorvalue).rpartition("]' ")[2]  # without the command
            failures[f"{type(task.errorvalue).__name__}: {reason}"] += 1

    print(f"\n{len(findings):5} done\n{failures.total():5} failed")
    for reason, number in failures.items():
        print(f"{number:10} {reason}")
    functions = sum(finding.functions for finding in findings)
    documented = sum(finding.documented for finding in findings)
    print(f"\n{functions:5} functions, of which {documented} have a docstring")
    worst = max(findings, key=lambda found: found.functions - found.documented)
    print(f"{worst.functions - worst.documented:5} of the others are in {worst.name}")


files, *directories = sys.argv[1:] or [100]
with tempfile.TemporaryDirectory() as temporary:
    main(int(files), *directories or [temporary])
