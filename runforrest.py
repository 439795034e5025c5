"""Run many function calls, each in a process of its own, and lose none of them.

    from runforrest import TaskList, defer

    tasklist = TaskList("tasklist")
    for item in long_list_of_stuff:
        task = defer(prepare, item)
        task = defer(dostuff, task[1], task.thing)
        tasklist.schedule(task)
    for task in tasklist.run(nprocesses=4):
        result = task.returnvalue  # or task.errorvalue

The files of a task NAME, in the order in which they come and go:

    todo/NAME.pkl       scheduled; whoever runs it holds a lock on it
    todo/NAME.pkl.done  (or .fail) its outcome, written whole by the process of the task
    done/NAME.pkl       (or fail/) the same, renamed after todo/NAME.pkl was removed

So the names alone tell how far a task has come, whenever all processes were killed. A
file that is copied from done or fail to todo runs again. To run one by hand, in a
debugger:

    python -m pdb -m runforrest tasklist/fail/NAME.pkl result.pkl --do_raise

The infile is never changed; the outfile is written whole or not at all. The exit code
is 0 for a success, and 1 for a failure.
"""

# Every task starts this module in a process of its own, so what is imported here is the
# price of every task. What only the caller needs is imported where it is used.
import _pickle as pickle  # the part of it that is written in C, at a third of the price
import _thread
import fcntl
import importlib
import io
import marshal
import operator
import os
import sys
import time
import types
from contextlib import nullcontext, suppress
from functools import cache, lru_cache, partial, partialmethod
from graphlib import TopologicalSorter

__version__ = "1.1.0"
if __name__ == "__main__":  # be the module that task files refer to, not the script
    __name__ = "runforrest"
    sys.modules[__name__] = sys.modules["__main__"]


# Build the graph ----------------------------------------------------------------------


class Task:
    """A call that has not been made yet, or one that was read from a file.

    Attributes, items and calls of a task are tasks again: `task.thing`, `task[1]`,
    `task.method(2)`; only names with two leading underscores are not. A task that was
    read from a file has its `metadata`, and after it has run

    returnvalue: what the call returned, or None
    errorvalue: what it raised, with the traceback as a note; None if it went well
    runtime: how long it took, in seconds
    """

    def __init__(self, fun, args, kwargs):
        self.__node__, self.__id__ = (fun, args, kwargs), os.urandom(16)

    def __getattr__(self, name):
        if name in vars(self).get("__pickled__", ()):
            return vars(self).setdefault(name, pickle.loads(self.__pickled__[name])[-1])
        if name[:2] == "__" or name in ("returnvalue", "errorvalue"):
            raise AttributeError(f"this task has no {name!r}: not run, or disk full")
        return Task(getattr, (self, name), {})

    def __getitem__(self, key):
        return Task(operator.getitem, (self, key), {})

    def __call__(self, /, *args, **kwargs):
        return Task(self, args, kwargs)

    __iter__ = None  # or Python would try task[0], task[1], ... for ever

    def __eq__(self, other):
        return type(other) is Task and self.__id__ == other.__id__

    def __hash__(self):
        return hash(self.__id__)


def defer(fun, /, *args, **kwargs):
    """Return a task that will call `fun(*args, **kwargs)` when it is evaluated.

    The function and the arguments may be tasks, or lists, tuples, sets and dicts with
    tasks in them. If `fun` is not callable, and alone, the task evaluates to it.
    """
    if callable(fun) or args or kwargs:
        return Task(fun, args, kwargs)
    return Task(operator.getitem, ([fun], 0), {})


# Evaluate it --------------------------------------------------------------------------


def evaluate(task):
    """Make all the calls of a task, each once; return the value of the last one."""
    results = {}
    for call in _in_order(task):
        fun, args, kwargs = _replace(call.__node__, results.get)
        results[call] = fun(*args, **kwargs)
    return results[task]


def _in_order(task):
    """List the tasks that a task is made of, and last itself: none before its parts.

    A CycleError is raised if one is made of itself.
    """
    needs, found = {}, [task]
    for call in found:  # to which its parts are appended
        if call not in needs:
            needs[call] = []
            _replace(call.__node__, needs[call].append)
            found += needs[call]
    return list(TopologicalSorter(needs).static_order())


def _replace(data, replacement, known=None):
    """Replace the tasks in data; what contains none is returned as the same object.

    known: what containers that were met already are replaced by
    """
    known, kind = {} if known is None else known, type(data)
    if kind is Task:
        return replacement(data)
    if kind in _SEARCHED and id(data) not in known:
        known[id(data)] = data  # for those that contain themselves
        parts = [*data, *data.values()] if kind is dict else [*data]
        if not _SEARCHED.isdisjoint(map(type, parts)):
            new = [_replace(part, replacement, known) for part in parts]
            if any(map(operator.is_not, new, parts)):
                pairs = zip(new, new[len(data) :], strict=False)
                known[id(data)] = kind(pairs if kind is dict else new)
    return known.get(id(data), data)


_SEARCHED = {Task, list, tuple, set, frozenset, dict}


# Turn it into bytes, with all that it needs of the script -----------------------------


class _Now(partial):
    """A call that is pickled as a call, which is made as soon as it is loaded."""


class _Pickler(pickle.Pickler):
    """The one in C, but with attributes, so that it can get a reducer_override."""


@cache
def _names_of(code):
    """The globals that a function, or one in it, uses; after a dot, all its names."""
    steps = importlib.import_module("dis").get_instructions(code)
    used = {s.argval for s in steps if "GLOBAL" in s.opname or s.opname == "LOAD_NAME"}
    inner = [const for const in code.co_consts if type(const) is types.CodeType]
    return used.union(["." + name for name in code.co_names], *map(_names_of, inner))


def _dump(value, names, by_value=False, kind=_Pickler):
    """Pickle a value.

    names: a list, to which the names are added that its functions and classes use:
        those of globals, and after a dot those of attributes, as these may be modules
    by_value: pickle the functions and classes of the script itself, not their names
    """
    pickler = kind(stream := io.BytesIO(), 5)
    pickler.reducer_override = partial(_reduce, names, by_value)
    with suppress(Exception if kind is _Pickler else ()):
        pickler.dump(value)
        return stream.getvalue()
    # dill can do more, but takes long.
    return _dump(value, names, by_value, importlib.import_module("dill").Pickler)


def _reduce(names, by_value, obj):
    """Say how to make again what pickle can't, or does wrongly.

    As all such functions, return a function, its arguments, and what to put into the
    object that it makes, after that is known to others; or a name; or NotImplemented.
    """
    kind = type(obj)
    home = sys.modules.get("types" if kind is type else _HOMES.get(kind.__module__))
    for name in [k for k, v in vars(home).items() if v is obj] if home else ():
        return getattr, (home, name)
    if isinstance(obj, (type, types.FunctionType, type(_names_of))):
        path = getattr(obj, "__qualname__", "")
        of_script = obj.__module__ in ("__main__", "__mp_main__", None)
        names += [path.split(".")[0]] if of_script else []
        with suppress(Exception):  # unless it is found under its name, it comes along
            if not (by_value and of_script) and pickle.dumps(obj):
                return path
    names += ["." + obj.__name__] if kind is types.ModuleType else []
    if kind is types.FunctionType:
        scope, used = obj.__globals__, _names_of(obj.__code__)
        names += used
        home = sys.modules.get(scope.get("__name__"))
        own, fill = _Now(vars, home), None
        if not home or vars(home) is not scope:  # as in exec, or a copy, as in doctest
            fill = _Now(dict.update, own := {}, {k: scope[k] for k in used & {*scope}})
        args = obj.__code__, own, obj.__name__, obj.__defaults__, obj.__closure__
        return types.FunctionType, args, (fill, {k: getattr(obj, k) for k in _STATE})
    if isinstance(obj, type) and "__module__" in vars(obj):  # written in Python
        made = {k: v for k, v in vars(obj).items() if type(v).__name__ not in _ANEW}
        body = {k: made[k] for k in ("__slots__", "__orig_bases__") if k in made}
        args = kind, obj.__name__, obj.__bases__, {**body, "__qualname__": path}
        # A metaclass of the script may do more than make it: that was done already.
        make = next(k for k in kind.__mro__ if k.__module__ in ("abc", "builtins"))
        calls = [_Now(type.__setattr__, obj, *item) for item in made.items()]
        # The calls are its state, made while this is loaded: is_ has nothing to do.
        return make.__new__, args, calls, None, None, operator.is_
    # A member of an Enum that is about to be made, and can't be asked for its members.
    if by_value and hasattr(kind, "_member_map_") and kind.__module__ == "__main__":
        return obj._member_type_.__new__, object.__reduce_ex__(obj, 2)[1], vars(obj)
    if isinstance(obj, io.IOBase) and {*str(getattr(obj, "mode", ""))} & {*"wax+2"}:
        raise TypeError(f"{obj!r} is open for writing: open it in a task instead")
    if kind is types.MethodType and getattr(obj.__self__, obj.__name__, None) != obj:
        return kind, (obj.__func__, obj.__self__)
    if isinstance(obj, BaseException) and type(kind.__init__) is types.FunctionType:
        # Pickle would call it again, with other arguments.
        return kind.__new__, (kind, *obj.args), {**vars(obj), "args": obj.args}
    return _MAKE[kind](obj) if kind in _MAKE else NotImplemented


# Modules that hold things that are unique: streams, and what dataclasses compare with.
_HOMES = {"_io": "sys", "dataclasses": "dataclasses"}
_STATE = "__dict__", "__doc__", "__kwdefaults__", "__module__", "__qualname__"
_ANEW = "getset_descriptor", "member_descriptor", "_abc_data"
_MAKE = {
    _Now: lambda it: (it.func, it.args),
    types.ModuleType: lambda it: (importlib.import_module, (it.__name__,)),
    types.CodeType: lambda it: (marshal.loads, (marshal.dumps(it),)),
    types.CellType: lambda c: (type(c), (), (None, {"cell_contents": c.cell_contents})),
    type(_names_of): lambda f: (lru_cache(**f.cache_parameters()), (f.__wrapped__,)),
    property: lambda it: (property, (it.fget, it.fset, it.fdel, it.__doc__)),
    types.MappingProxyType: lambda it: (types.MappingProxyType, (dict(it),)),
    **dict.fromkeys((classmethod, staticmethod), lambda it: (type(it), (it.__func__,))),
    # Which dill would keep locked, for ever.
    _thread.LockType: lambda it: (_thread.allocate_lock, ()),
    _thread.RLock: lambda it: (_thread.RLock, ()),
}


def _definitions(names):
    """Pickle the globals of the script with these names, and all that they refer to.

    They define themselves when they are loaded, in the reverse order: each after what
    was found in it. Return also why some are not among them.
    """
    top, found, why_not = sys.modules["__main__"], {}, {}
    # Where `globals()` itself is kept in a global, it is that of the task there.
    scope = {k: _Now(vars, top) if v is vars(top) else v for k, v in vars(top).items()}
    for name in names:  # to which those are appended that are found
        if name in scope and name not in found | why_not:
            try:
                found[name] = _dump(scope[name], names, by_value=True) and scope[name]
            except Exception as error:
                why_not[name] = repr(error)
    # Modules that are used as attributes of others: `xml.dom.minidom`.
    words = {word for name in names for word in name.split(".")}
    mods = [n for n in [*sys.modules] if "." in n and sys.modules.get(n)]
    calls = [_Now(importlib.import_module, n) for n in mods if words >= {*n.split(".")}]
    calls += [_Now(setattr, top, n, found.pop(n)) for n in names[::-1] if n in found]
    return _dump(calls, [], by_value=True), why_not


# Write and read a file ----------------------------------------------------------------


def _write(path, value):
    """Write a pickle to a file that survives a power cut, or to none."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(f"{path}.tmp", "wb") as file:
            pickle.dump(value, file, 5)
            file.flush()
            os.fsync(file.fileno())
            os.replace(f"{path}.tmp", path)
            os.fsync(file.fileno())  # for its new name
    finally:
        _remove(f"{path}.tmp")


def _load(path):
    """Read a file with a task, or with a session: both have definitions."""
    with open(path, "rb") as file:
        try:
            return vars(task := pickle.load(file))["__globals__"] and task
        except Exception as error:
            raise ValueError(f"{path!r} is damaged, or of another version") from error


def _finish(path, task, started, value, error, report=""):
    """Write a task with its outcome; report is the traceback, which becomes a note."""
    outcome = {"returnvalue": value, "errorvalue": error, "__report__": report}
    task.__pickled__ |= {name: _dump([it], []) for name, it in outcome.items()}
    task.runtime = started and time.perf_counter() - started  # seconds
    _write(path, task)


def _read(path, error=None):
    """Read a task for its user; what goes wrong here is in its errorvalue, too.

    error: what it failed with, if that could not be written
    """
    task = Task(None, (), {})
    task.metadata = task.runtime = None
    try:
        task = _load(path)
        if "returnvalue" in task.__pickled__ or path.split("/")[-2] == "fail":
            _, error = task.returnvalue, error or task.errorvalue
    except (Exception, SystemExit) as reason:  # a value can do anything as it is loaded
        error = error or reason
    if error is not None:
        note = f"To debug this: python -m runforrest {path!r} result.pkl -r"
        error.add_note(getattr(task, "__report__", "") + note)
        vars(task).update(returnvalue=None, errorvalue=error)
    return task


def _remove(path):
    with suppress(FileNotFoundError):
        os.unlink(path)


# Run one file -------------------------------------------------------------------------


def run_task(infile, outfile="", sessionfile="", do_print=False, do_raise=False):
    """Evaluate the task in a file, write it with its outcome, return the exit code.

    outfile: where to write it; if it is empty, beside the infile, as .done or .fail
    sessionfile: a file with more globals of the script
    do_print, do_raise: what to do with an error, after it was written

    This writes to `__main__` and `sys.path`: use a process of its own.
    """
    task, absent, started = _load(infile), {}, time.perf_counter()
    try:
        sys.path[:] = dict.fromkeys(task.__path__ + sys.path)
        for file in (task, *map(_load, filter(None, [sessionfile]))):
            pickle.loads(file.__globals__[0])
            absent |= file.__globals__[1]
        call = Task(*pickle.loads(task.__pickled__["__node__"])[-1])
        _finish(outfile or f"{infile}.done", task, started, evaluate(call), None)
        return 0
    except BaseException as error:
        import traceback

        text = traceback.format_exception_only(error)[0].strip()
        # The name, or attribute 'NAME', or 'NAME.METHOD', that is missing.
        for name in [n for n in absent if f"e '{n}'" in text.replace(".", "'")]:
            error.add_note(f"{name} did not come along: {absent[name]}")
        report, told = "".join(traceback.format_exception(error)), RuntimeError(text)
        with suppress(Exception):  # if it can't be sent as it is
            told = pickle.loads(_dump(error, []))
        _finish(outfile or f"{infile}.fail", task, started, None, told, report)
        if do_print:
            traceback.print_exception(error)
        if do_raise and not isinstance(error, SystemExit):  # whose code might be 0
            raise
        return 1


def _follow(leash):
    """Have this process and its children killed when the run lets the leash go.

    leash: the reading end of a pipe whose other end only the process of the run has
    """
    if hasattr(fcntl, "F_SETSIG"):  # Linux does it, whatever this process is doing
        fcntl.fcntl(leash, fcntl.F_SETSIG, 9)
        fcntl.fcntl(leash, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(leash, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        with suppress(BlockingIOError):  # but not if it is gone already
            os._exit(os.read(leash, 1) == b"")
    else:
        _thread.start_new_thread(lambda: os.read(leash, 1) or os.killpg(0, 9), ())


def _outcome(todo):
    """Whether a task has failed or is done, if it has run, by the files beside it."""
    return next((s for s in ("fail", "done") if os.path.exists(f"{todo}.{s}")), None)


# Run many -----------------------------------------------------------------------------


class _Run(types.SimpleNamespace):
    """The tasks of a run, as they finish; its length is how many there are to run."""

    def __len__(self):
        return len(self.todos)

    def __iter__(self):
        return (_read(*outcome) for outcome in self.outcomes_of(self.todos) if outcome)


def _run_here(nprocesses, work, todos):
    """Yield what work returns for each file, from as many threads as processes."""
    from multiprocessing.connection import Pipe
    from multiprocessing.pool import ThreadPool
    from weakref import finalize

    leashes = [Pipe(duplex=False) for _ in todos[:nprocesses]]
    pool = ThreadPool(len(leashes) or 1)

    def leave():
        for _, leash in leashes:
            leash.close()  # the writing end, and so what is running is killed
        pool.terminate()
        pool.join()

    # Also when the script ends in the midst of it; and a fork has no part in it.
    os.register_at_fork(after_in_child=(end := finalize(pool, leave)))
    try:
        yield from pool.imap_unordered(partial(work, idle=[*leashes]), todos)
    finally:
        end()


def _run_elsewhere(executor, work, todos):
    """Yield what work returns for each file, from wherever the executor calls it."""
    from concurrent.futures import as_completed

    futures = [executor.submit(work, todo) for todo in todos]
    try:
        yield from (future.result() for future in as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


class TaskList:
    """A directory with tasks, and what runs them.

    directory: the tasks are in the directories todo, done and fail in this one. If it
        exists already, a RuntimeError is raised, unless
    exist_ok: use it anyway, and
    pre_clean: remove all tasks that are in it, or
    noschedule_if_exist: run the tasks that are in it, and ignore what gets scheduled
    post_clean: remove all tasks when this object is deleted, or Python ends
    logfile: append to this file when tasks are scheduled, started, and done or failed,
        and what they print
    """

    def __init__(
        self,
        directory,
        exist_ok=False,
        pre_clean=True,
        post_clean=False,
        logfile=None,
        noschedule_if_exist=False,
    ):
        own, path = os.environ.get("RUNFORREST", "/"), os.path.normpath(directory)
        if own.endswith(f"/{path}") or os.path.realpath(own) == os.path.realpath(path):
            raise RuntimeError("a task runs this, too: use if __name__ == '__main__'")
        exists, reuse = os.path.lexists(directory), exist_ok or noschedule_if_exist
        if exists and not (reuse and os.path.isdir(directory)):
            raise RuntimeError(f"{path!r} exists: see exist_ok, noschedule_if_exist")
        self._directory = os.path.abspath(directory)
        self._logfile = logfile and os.path.abspath(logfile)
        open(logfile or os.devnull, "a").close()  # if it can't be written, say so now
        self._noschedule = exists and noschedule_if_exist
        if pre_clean and not self._noschedule:
            self.clean()
        for state in ("todo", "done", "fail"):
            os.makedirs(f"{self._directory}/{state}", exist_ok=True)
        if post_clean:
            from weakref import finalize

            # A copy does it, as the object itself has to be gone by then.
            cleaner = finalize(self, pickle.loads(pickle.dumps(self)).clean)
            os.register_at_fork(after_in_child=cleaner.detach)

    def schedule(self, task, metadata=None):
        """Write a task to a file in todo, where it survives whatever happens.

        metadata: anything that shall come back as `task.metadata`

        TypeError if it isn't a task; else what pickling it or writing the file raises.
        """
        if type(task) is not Task:
            raise TypeError(f"{task!r} isn't a task: make one, with defer(fun, arg)")
        if self._noschedule:
            return
        names, frozen = ["__package__"], Task.__new__(Task)
        # In this order nothing is nested, and so nothing is too deep for pickle.
        graph = _dump([*_in_order(task)[:-1], task.__node__], names)
        frozen.__pickled__ = {"__node__": graph, "metadata": _dump([metadata], [])}
        frozen.__id__, frozen.__globals__ = task.__id__, _definitions(names)
        frozen.__path__ = [os.path.abspath(path) for path in sys.path]
        name = f"{time.time_ns()}-{os.urandom(4).hex()}.pkl"  # they sort in this order
        _write(f"{self._directory}/todo/{name}", frozen)
        self._log(name, "schedule")

    def run(
        self,
        nprocesses=4,
        print_errors=False,
        save_session=False,
        autokill=None,
        executor=None,
    ):
        """Run the tasks in todo, each in a process of its own.

        Return an iterable, with a length, of the tasks as they finish. They start when
        it is iterated. Leaving the loop kills those that run, and they stay in todo.

        nprocesses: how many run at a time
        print_errors: print the full stack trace of each error
        save_session: send all globals of the script, not only those that tasks refer to
        autokill: seconds after which to kill a task and all processes it has started
        executor: a concurrent.futures.Executor that runs them, instead of nprocesses
        """
        if operator.index(nprocesses) < 1 or not (autokill is None or autokill > 0):
            raise ValueError(f"{nprocesses=} and {autokill=} (seconds) must be above 0")
        session = f"{self._directory}/todo/session.pkl.globals" if save_session else ""
        if save_session:
            names = [name for name in vars(sys.modules["__main__"]) if name[:2] != "__"]
            _write(session, types.SimpleNamespace(__globals__=_definitions(names)))
        work = partial(self._run_file, ["", session, str(print_errors or "")], autokill)
        run = (_run_elsewhere, executor) if executor else (_run_here, nprocesses)
        files = self._files("todo", r"(\.done|\.fail)?")
        todos = {file.removesuffix(".done").removesuffix(".fail") for file in files}
        return _Run(todos=sorted(todos), outcomes_of=partial(*run, work))

    def _run_file(self, options, autokill, todo, idle=None):
        """Run the task in a file in todo, in a process of its own, and commit it.

        idle: the leashes of which it takes one, as pairs of the ends of a pipe; without
            them it has one of its own, and waits for the lock: executors run again what
            was lost with a worker, and may still be dying

        Return where its outcome is, in done or fail, and why that could not be written;
        or None if another runner has it, or if the leash was let go.
        """
        from multiprocessing.connection import Pipe

        name, claim, ours, reason = os.path.basename(todo), nullcontext(), False, None
        with suppress(FileNotFoundError, PermissionError, BlockingIOError):
            claim = open(todo, "r+b")  # noqa: SIM115 - writable: NFS wants it for locks
            fcntl.flock(claim, fcntl.LOCK_EX | (0 if idle is None else fcntl.LOCK_NB))
            ours = os.path.samefile(todo, claim.fileno())  # not if it was run meanwhile
        with claim:
            if ours and not _outcome(todo):
                self._log(name, "start")
                idle = [Pipe(duplex=False)] if idle is None else idle
                watch, _ = leash = idle.pop()
                error = self._execute(todo, claim, watch, options, autokill)
                idle.append(leash)
                # It has failed, unless it was removed, or killed by the leash.
                if os.path.exists(todo) and not (_outcome(todo) or watch.poll()):
                    try:
                        _finish(f"{todo}.fail", _load(todo), None, None, error)
                    except (OSError, ValueError) as cause:  # disk full; damaged
                        reason = cause
                        with suppress(FileNotFoundError):  # it was removed
                            os.replace(todo, f"{todo}.fail")
            if (ours or not os.path.exists(todo)) and (state := _outcome(todo)):
                # The rename comes last, as then there is nothing left to be found.
                path, fail = (f"{self._directory}/{s}/{name}" for s in (state, "fail"))
                _remove(todo)
                _remove(fail if state == "done" else f"{todo}.done")
                self._log(name, state)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with suppress(FileNotFoundError):  # if another runner was faster
                    os.replace(f"{todo}.{state}", path)
                    return path, reason
        return None

    def _execute(self, todo, claim, watch, options, autokill):
        """Run the process of a task, leave nothing behind, return how it ended."""
        import subprocess

        # It has to find what this process finds; the task gets the old PYTHONPATH back.
        path = os.pathsep.join(map(os.fspath, [*sys.path, os.path.dirname(__file__)]))
        own = "--leash", str(watch.fileno()), os.environ.get("PYTHONPATH", "")
        # PYTHONPATH can't hold a directory with a colon.
        named = ["-m", "runforrest"] if os.pathsep not in __file__ else [__file__]
        command = [sys.executable, "-P", *named, *own, todo, *options]
        env = os.environ | {"PYTHONPATH": path, "RUNFORREST": self._directory}
        start = partial(subprocess.Popen, command, env=env, stdin=subprocess.DEVNULL)
        fds = claim.fileno(), watch.fileno()
        with open(self._logfile, "ab") if self._logfile else nullcontext() as log:
            child = start(stdout=log, stderr=log, start_new_session=True, pass_fds=fds)
        try:
            if code := child.wait(autokill):
                return subprocess.CalledProcessError(code, child.args)
            return subprocess.SubprocessError(f"{child.args} ended without a result")
        except subprocess.TimeoutExpired as error:
            return error
        finally:
            with suppress(OSError, subprocess.TimeoutExpired):
                os.killpg(child.pid, 9)  # an error if all have ended
                child.wait(5)  # seconds, or for ever if it waits for a broken disk

    def _log(self, name, event):
        with open(self._logfile or os.devnull, "a", errors="replace") as log:
            print(time.strftime("%Y-%m-%dT%H:%M:%S"), name, event, file=log)

    def _files(self, state, end=""):
        """The files of tasks, in the order of scheduling; end: what follows .pkl."""
        import re

        path, pattern = f"{self._directory}/{state}", rf".*/[^./][^/]*\.pkl{end}"
        entries = os.scandir(path) if os.path.isdir(path) else []
        files = [e.path for e in entries if e.is_file(follow_symlinks=False)]
        return sorted(file for file in files if re.fullmatch(pattern, file, re.S))

    def _tasks(self, state):
        return map(_read, self._files(state))

    todo_tasks = partialmethod(_tasks, "todo")
    done_tasks = partialmethod(_tasks, "done")
    fail_tasks = partialmethod(_tasks, "fail")

    def clean(self, clean_todo=True, clean_done=True, clean_fail=True):
        """Remove the files of this library, and the directories that are empty then."""
        wanted = {"todo": clean_todo, "done": clean_done, "fail": clean_fail, "": False}
        for state, clean in wanted.items():  # and last the directory itself
            for file in self._files(state, ".*") if clean else ():
                _remove(file)
            with suppress(OSError):  # a task or a user's file is in it
                os.rmdir(f"{self._directory}/{state}")


# The command line ---------------------------------------------------------------------


def main(args=None):
    """Run one task file, as `python -m runforrest` does, and return the exit code."""
    import argparse

    add = (parser := argparse.ArgumentParser("python -m runforrest")).add_argument
    add("infile", help="a file with a task, which stays as it is")
    add("outfile", type=os.path.abspath, help="the file to write, with the outcome")
    add("-r", "--do_raise", action="store_true", help="raise the task's error")
    add("-p", "--do_print", action="store_true", help="print the task's error")
    add("-s", "--sessionfile", metavar="FILE", help="a file with the script's globals")
    return run_task(**vars(parser.parse_args(args)))


if sys.modules["__main__"] is sys.modules[__name__]:
    # The second name is that of scripts in the workers of multiprocessing.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = types.ModuleType("__main__")
    sys.modules["__main__"].__builtins__ = __builtins__
    if sys.argv[1:2] == ["--leash"]:
        _, _, leash, os.environ["PYTHONPATH"], *arguments = sys.argv
        _follow(int(leash))
        # What a task printed is seen at once, whatever happens to it.
        sys.stdout.reconfigure(line_buffering=True)
        sys.exit(run_task(*arguments))
    sys.exit(main())
