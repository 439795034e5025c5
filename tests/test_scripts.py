"""Scripts that define all they need in themselves, and are run as their users would.

Each script comes after the PRELUDE, and runs in a process of its own, in another
directory than the one it is in. Its comments are what it shall print: one a line, and
behind what prints it, or on lines of their own below. So that the table can be scanned,
a script has no blank lines, and it may try several things if they are much alike.
"""

import re
import subprocess
import sys
import zipapp
from textwrap import dedent, indent

import pytest

PRELUDE = """\
import sys
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, partial, wraps
from pathlib import Path
from runforrest import TaskList, defer

def run(task, **options):
    tasklist = TaskList("tasklist", exist_ok=True)
    tasklist.schedule(task)
    [finished] = tasklist.run(nprocesses=1, **options)
    return finished

def call(fun, *args, **kwargs):
    finished = run(defer(fun, *args, **kwargs))
    if finished.errorvalue is not None:
        raise finished.errorvalue
    return finished.returnvalue

def error_of(fun, *args):
    return run(defer(fun, *args)).errorvalue

"""

FUNCTIONS = {
    "functions that call functions, and themselves": """
        def double(x): return 2 * x
        def first(x): return second(x) + 1
        def second(x): return third(x) + 1
        def third(x): return x + 1
        def factorial(n): return n * factorial(n - 1) if n else 1
        def is_even(n): return n == 0 or is_odd(n - 1)
        def is_odd(n): return n != 0 and is_even(n - 1)
        print(call(double, 21), call(first, 0), call(factorial, 10))  # 42 3 3628800
        print(call(is_even, 10), call(is_odd, 10))  # True False
        """,
    "decorated recursion": """
        def logged(fun):
            @wraps(fun)
            def wrapper(n):
                calls.append(n)
                return fun(n)
            return wrapper
        calls = []
        @logged
        def factorial(n): return n * factorial(n - 1) if n else 1
        def count(n): return factorial(n), calls
        print(call(count, 3), calls)  # (6, [3, 2, 1, 0]) []
        """,
    "functions with a cache": """
        from functools import lru_cache
        @lru_cache(maxsize=None)
        def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        def use(n): return fibonacci(n), fibonacci.cache_info().misses
        @cache
        def double(x): return 2 * x
        power = cache(partial(pow, 2))
        print(call(use, 80), call(double, 21))  # (23416728348467685, 81) 42
        print(call(power, 5))  # 32
        """,
    "closures, also two that share a variable, and lambdas": """
        constant = 1000
        def adder(n): return lambda x: x + n
        def make(base):
            def factorial(n): return n * factorial(n - 1) if n else base
            return factorial
        def make_two():
            def is_even(n): return n == 0 or is_odd(n - 1)
            def is_odd(n): return n != 0 and is_even(n - 1)
            return is_even, is_odd
        def outer(a):
            def middle(b):
                def inner(c): return a + b + c + constant
                return inner
            return middle
        print(call(adder(2), 40), call(adder, 2)(40), call(make(10), 4))  # 42 42 240
        print([call(fun, 7) for fun in make_two()])  # [False, True]
        print(call(outer(1)(10), 100))  # 1111
        def counter():
            count = 0
            def increase():
                nonlocal count
                count += 1
            def get(): return count
            return increase, get
        increase, get = counter()
        def increase_twice():
            increase()
            increase()
            return get()
        print(call(increase_twice))  # 2
        offset = 2
        double = lambda x: 2 * x
        quadruple = lambda x, twice=double: twice(double(x))
        print(call(lambda x: x + offset, 40), call(quadruple, 10))  # 42 40
        """,
    "partials of functions, classes and methods": """
        from operator import attrgetter
        def power(base, exponent): return base ** exponent
        class Point:
            def __init__(self, x, y=1): self.x, self.y = x, y
            def add(self, z): return self.x + z
        square, make = partial(power, exponent=2), partial(Point, y=5)
        get, add = attrgetter("x"), partial(Point(1).add, 2)
        def use(): return square(5)
        def use_all(): return make(1).y, get(Point(3)), add(), Point.add(Point(1), 2)
        print(call(partial(power, 2), 10), call(square, 3), call(use))  # 1024 9 25
        print(call(use_all), call(make, 2).y, call(add))  # (5, 3, 3, 3) 5 3
        print(call(get, Point(4)), call(Point.add, Point(1), 1))  # 4 2
        """,
    "decorators": """
        def doubled(fun):
            @wraps(fun)
            def wrapper(*args): return 2 * fun(*args)
            return wrapper
        def tripled_without_wraps(fun): return lambda *args: 3 * fun(*args)
        def times(factor):
            def decorate(fun):
                @wraps(fun)
                def wrapper(*args): return factor * fun(*args)
                return wrapper
            return decorate
        class Counted:
            def __init__(self, fun): self.fun, self.count = fun, 0
            def __call__(self, *args):
                self.count += 1
                return self.fun(*args), self.count
        @doubled
        def first(a, b): return a + b
        @tripled_without_wraps
        def second(a, b): return a + b
        @times(2)
        @times(10)
        def third(a, b): return a + b
        @Counted
        def fourth(a, b): return a + b
        print(call(first, 1, 2), first.__name__, call(second, 1, 2))  # 6 first 9
        print(call(third, 1, 2), call(fourth, 1, 2))  # 60 (3, 1)
        """,
    "a decorator of another module that refers to what it returns": """
        from beside import counted
        @counted
        def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
        class Account:
            @counted
            def get(self, x): return x
        def use(): return factorial(5), factorial.calls
        print(call(factorial, 5), call(use), call(Account().get, 1))  # 120 (120, 5) 1
        """,
    "a partial method": """
        from functools import partialmethod
        class Turtle:
            def move(self, x, y): return x, y
            right = partialmethod(move, 1, y=0)
        print(call(lambda turtle: turtle.right(), Turtle()))  # (1, 0)
        """,
    "methods with a cache": """
        from functools import lru_cache
        class Turtle:
            @cache
            def slow(self, x): return 2 * x
            @staticmethod
            @lru_cache(maxsize=8)
            def triple(x): return 3 * x
            @classmethod
            @cache
            def load(cls): return cls()
        def use(turtle): return turtle.slow(3), Turtle.triple(4)
        def is_the_same(load): return load() is Turtle.load() is load()
        print(call(use, Turtle()))  # (6, 12)
        print(call(is_the_same, Turtle.load))  # True
        """,
    "the globals as a global": """
        count, here = 1, globals()
        def change():
            here["count"] = 5
            return count, here is globals()
        print(call(change))  # (5, True)
        """,
    "a module that is something else, and refuses to be sent": """
        import types
        import email.mime.text
        class Settings(types.ModuleType):
            def __reduce__(self): raise TypeError("these are mine")
        sys.modules["email.settings"] = email.settings = Settings("settings")
        def use(own): return email.settings.name if own else email.mime.text.__name__
        print(call(use, False))  # email.mime.text
        """,
    "large globals of the names of an attribute, and of a module's function": """
        import copy as duplicate
        import statistics
        copy, mean = [bytes(10_000_000)], bytes(1_000_000)
        def use(x): return x.copy()
        for task in defer(use, [1]), defer(statistics.mean, [1, 2, 3]):
            value = run(task).returnvalue
            path = sorted(Path("tasklist", "done").iterdir())[-1]
            print(value, path.stat().st_size < 10_000)
        # [1] True
        # 2 True
        """,
    "methods that are not found under their names": """
        def without_wraps(fun):
            def wrapper(self, *args): return "wrapped", fun(self, *args)
            return wrapper
        class Model:
            @without_wraps
            def fit(self, x): return x
            def __hidden(self, x): return x + 1
            def use_hidden(self): return call(self.__hidden, 1)
            def name(self): return "model"
            alias, short = name, lambda self: "short"
        class Better(Model):
            def name(self): return "better"
            def use_super(self):
                return call(super().name), call(self.name), call(self.alias)
        def use(fit): return fit(1)
        print(call(Model().fit, 1), Model().use_hidden())  # ('wrapped', 1) 2
        print(call(use, Model().fit))  # ('wrapped', 1)
        print(call(Model().short), *Better().use_super())  # short model better model
        """,
    "functions of a file that was run to copy its globals": """
        source = '''
        import sqlite3
        database, offset, count = sqlite3.connect(":memory:"), 40, [0]
        class Wrong(Exception): pass
        def add(x):
            count[0] += 1
            return x + offset
        def use(x): return add(x) + add(0), count
        def fail(): raise Wrong(offset)
        '''
        scope = {"__name__": "__main__"}
        exec(source, scope)
        globals().update(scope)
        scope["__name__"] = None
        print(call(use, 1), isinstance(error_of(fail), Wrong))  # (81, [2]) True
        """,
    "a function of a file whose globals were copied, and changed since": """
        scope = {"__name__": "__main__", "offset": 40}
        exec("def add(x): return x + offset", scope)
        globals().update(scope)
        offset, scope["__name__"] = 1, None
        print(call(add, 1))  # 41
        """,
    "generators, and a context manager": """
        from contextlib import contextmanager
        log = []
        def flatten(tree):
            for item in tree:
                if isinstance(item, list):
                    yield from flatten(item)
                else:
                    yield item
        def flat(tree): return list(flatten(tree))
        @contextmanager
        def logging(name):
            log.append("enter " + name)
            yield name
            log.append("leave " + name)
        def use():
            with logging("it") as name:
                log.append(name)
            return log
        print(call(flat, [1, [2, [3]], 4]))  # [1, 2, 3, 4]
        print(call(use))  # ['enter it', 'it', 'leave it']
        """,
    "functions and methods of single dispatch": """
        from functools import singledispatch, singledispatchmethod
        @singledispatch
        def describe(x): return "something"
        @describe.register
        def _(x: int): return "an int"
        @describe.register(list)
        def _(x): return [describe(item) for item in x]
        def use(x): return describe(x)
        class Show:
            @singledispatchmethod
            def show(self, x): return "something"
            @show.register
            def _(self, x: int): return "an int"
        print(call(use, [1, "a"]), call(describe, 1))  # ['an int', 'something'] an int
        print(call(Show().show, 1), call(lambda: Show().show("a")))  # an int something
        """,
    "async functions and generators": """
        import asyncio
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x
        async def gather(*xs): return await asyncio.gather(*map(double, xs))
        def main(*xs): return asyncio.run(gather(*xs))
        async def count(n):
            for i in range(n):
                yield i
        async def total(n): return [i async for i in count(n)]
        print(call(main, 1, 2), call(lambda: asyncio.run(total(3))))  # [2, 4] [0, 1, 2]
        """,
    "keyword-only defaults": """
        step = 3
        def advance(x: int, /, y: "float" = 1, *rest, by: int = step, **more: int):
            return x + y + by + sum(rest) + sum(more.values())
        print(call(advance, 1, 2, 3, by=4, other=5))  # 15
        """,
    "annotations of a function": """
        def add(x: int, y: "float" = 1): return sorted(add.__annotations__)
        print(call(add, 1))  # ['x', 'y']
        """,
    "annotations that are not evaluated": """
        from __future__ import annotations
        def scale(x: Vector, by: float = 2) -> Vector: return Vector(x.x * by)
        class Vector:
            x: float
            def __init__(self, x: float) -> None: self.x = x
        print(call(scale, Vector(1)).x)  # 2
        """,
    "match statements, f-strings, a walrus and comprehensions": """
        @dataclass
        class Point:
            x: int
            y: int
        def where(point):
            match point:
                case Point(x=0, y=0): return "origin"
                case Point(x=0) | Point(y=0): return "axis"
                case [Point(), *rest]: return f"a point and {len(rest)} more"
                case _: return "elsewhere"
        points = [Point(0, 0), Point(0, 1), Point(1, 1)]
        print(*(call(where, p) for p in points), sep=", ")  # origin, axis, elsewhere
        print(call(where, points))  # a point and 2 more
        unit, width, factor, limit = "m", 6, 2, 3
        def shout(text): return text.upper()
        def describe(values):
            if (n := len(values)) > 1:
                return f"{n} {shout('values')}: {sum(values):{width}.1f} {unit!r}"
        print(call(describe, [1, 2]))  # 2 VALUES:    3.0 'm'
        def double(x): return factor * x
        def use():
            return (
                [double(x) for x in range(limit)],
                {double(x): factor for x in range(1)},
                list(double(x) for x in range(limit) if x < factor),
            )
        print(call(use))  # ([0, 2, 4], {0: 2}, [0, 2])
        """,
    "modules in modules that are arguments, defaults, attributes, or in containers": """
        import xml, xml.dom.minidom
        def default(text, x=xml): return x.dom.minidom.parseString(text).nodeName
        def argument(text, x): return x.dom.minidom.parseString(text).nodeName
        class Parser:
            x = xml
            def parse(self, text): return self.x.dom.minidom.parseString(text).nodeName
        modules = {"x": xml}
        def container(text): return modules["x"].dom.minidom.parseString(text).nodeName
        print(call(default, "<a/>"), call(argument, "<a/>", xml))  # #document #document
        print(call(Parser().parse, "<a/>"), call(container, "<a/>"))
        # #document #document
        """,
    "a module whose import was blocked": """
        import email
        sys.modules["email.fast"] = None
        def use(): return email.fast if hasattr(email, "fast") else "slow"
        print(call(use))  # slow
        """,
    "functions made by exec and eval, also in a namespace of their own": """
        exec("def double(x):\\n    return factor * x")
        triple = eval("lambda x: x + factor * x")
        factor = 2
        print(call(double, 21), call(triple, 14))  # 42 42
        import threading
        import xml.dom.minidom
        namespace = {"factor": 2, "secret": threading.local(), "xml": xml}
        exec('''
        def double(x): return factor * x
        def parse(text):
            return xml.dom.minidom.parseString(text).documentElement.tagName
        ''', namespace)
        factor = "another one"
        print(call(namespace["double"], 21), call(namespace["parse"], "<a/>"))  # 42 a
        namespace = {"parse": namespace["parse"]}
        def use(): return namespace["parse"]("<a/>"), factor
        print(call(use))  # ('a', 'another one')
        """,
    "a function made by exec, in a namespace of its own, as a global": """
        namespace = {"factor": 2}
        exec("def double(x): return factor * x", namespace)
        double, factor = namespace["double"], "another one"
        print(call(double, 21), call(lambda: double(1)))  # 42 2
        """,
    "a worker of multiprocessing that schedules and runs": """
        from multiprocessing import get_context
        offset = 40
        class Point:
            def __init__(self, x): self.x = x
        def shift(x): return Point(x + offset)
        def work(x):
            point = call(shift, x)
            return type(point) is Point, point
        if __name__ == "__main__":
            with get_context("spawn").Pool(1) as pool:
                right, point = pool.apply(work, [2])
            print(right, point.x, type(point) is Point)  # True 42 True
        """,
    "functions with attributes, or with other names than their globals": """
        def double(x):
            double.calls += 1
            return 2 * x, double.calls
        double.calls = 10
        print(call(double, 21))  # (42, 11)
        def first(x): return second(x - 1) if x else "second"
        second = first
        def first(x): return "first"
        def helper(): return 42
        def use(): return kept()
        kept = helper
        del helper
        def add(a, b): return a + b
        operations = {"+": add, "-": lambda a, b: a - b}
        steps = [add, operations["-"]]
        def compute(sign, a, b):
            return operations[sign](a, b), [step(a, b) for step in steps]
        print(call(second, 1), call(first, 1), call(use))  # second first 42
        print(call(compute, "-", 3, 2))  # (1, [5, 1])
        """,
    "functions that are passed and returned, also in one graph": """
        def helper(x): return x + 1
        def increase(x): return helper(x)
        def apply(fun, values, *, then): return then([fun(value) for value in values])
        def get(): return increase
        print(call(apply, increase, [1, 2], then=lambda x: x[::-1]))  # [3, 2]
        print(call(get) is increase, call(get)(41))  # True 42
        class Maker:
            def __init__(self, start): self.start = start
            def make(self, n): return [step(self.start, i) for i in range(n)]
        def step(start, i): return start + width * i
        width = 10
        maker = defer(Maker, 5)
        made = maker.make(3)
        print(call(sum, [made[0], made[1], made[2], maker.start]))  # 50
        """,
    "wrappers of functions of other modules, and of methods": """
        import math
        import beside
        def timed(fun):
            @wraps(fun)
            def wrapper(*args): return fun(*args), unit
            return wrapper
        unit, bonus = "s", 1
        root, double = timed(math.sqrt), timed(beside.double)
        def use(): return root(4), double(1)
        def with_bonus(method):
            @wraps(method)
            def wrapper(self, *args): return method(self, *args) + bonus
            return wrapper
        class Account:
            @with_bonus
            def get(self, x): return x
            @classmethod
            @with_bonus
            def make(cls): return 5
        def use_account(): return Account().get(1), Account.make()
        print(call(use), call(double, 2))  # ((2.0, 's'), (2, 's')) (4, 's')
        print(*call(use_account), call(Account().get, 1), call(Account.make))  # 2 6 2 6
        """,
    "pools of processes in a task": """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        def double(x): return factor * x
        def use():
            fork = get_context("fork")
            with fork.Pool(2) as pool, ProcessPoolExecutor(1, fork) as executor:
                return pool.map(double, [1, 2]), list(executor.map(double, [3]))
        factor = 2
        print(call(use))  # ([2, 4], [6])
        """,
}

GLOBALS = {
    "a constant that is changed before and after it is scheduled": """
        answer = 1
        def get(): return answer
        answer = 42
        tasklist = TaskList("other")
        tasklist.schedule(defer(get))
        print(call(get))  # 42
        answer = 43
        print(call(get), [task.returnvalue for task in tasklist.run()])  # 43 [42]
        """,
    "globals that a task changes and makes, with two names, and recursive": """
        count = 0
        def increase():
            global count
            count += 1
        def increase_and_get():
            increase()
            global count
            count += 10
            increase()
            return count
        print(call(increase_and_get), count)  # 12 0
        def increased(_):
            increase()
            return count
        print(run(defer(increased, defer(increased, None))).returnvalue)  # 2
        def make():
            global made
            made = 42
        def use():
            make()
            return made
        print(call(use), "made" in globals())  # 42 False
        def get(): return count
        def change():
            global count, extra
            count, extra = 5, 6
            return get
        print(call(change) is get, get(), "extra" in globals())  # True 0 False
        first = second = []
        def append():
            first.append(1)
            return second, first is second
        tree = {"name": "root"}
        tree["parent"] = tree
        def climb(): return tree["parent"]["parent"]["name"], tree["parent"] is tree
        print(call(append), call(climb))  # ([1], True) ('root', True)
        """,
    "random number generators go on where they are": """
        import random
        import numpy as np
        mine, numpys = random.Random(7), np.random.default_rng(7)
        mine.random(), numpys.random()
        def draw(): return mine.random()
        def draw_numpys(): return numpys.random()
        print(call(draw) == draw(), call(draw_numpys) == draw_numpys())  # True True
        """,
    "locks, which arrive free even if they are held, also in objects": """
        from threading import Lock, RLock, Thread
        lock, rlock, got = Lock(), RLock(), []
        def use():
            with lock:
                return "locked" if lock.locked() else "free"
        def take(): got.append(rlock.acquire(timeout=5))
        def take_in_thread():
            thread = Thread(target=take)
            thread.start()
            thread.join()
            return got
        def take_both(): return lock.acquire(timeout=5), rlock.acquire(timeout=5)
        print(call(use), lock.locked(), call(take_in_thread))  # locked False [True]
        with lock, rlock:
            print(call(take_both))  # (True, True)
        class Account:
            lock, rlock = Lock(), RLock()
            def __init__(self): self.own, self.balance = RLock(), 0
            def deposit(self, amount):
                with self.own, self.lock, Account.rlock:
                    self.balance += amount
                    return self.balance
        account = Account()
        def deposit(): return account.deposit(1)
        print(call(account.deposit, 2), call(deposit))  # 2 1
        """,
    "a condition, a semaphore, events and a queue": """
        from queue import Queue
        from threading import Condition, Event, Semaphore
        condition, semaphore, event, unset = Condition(), Semaphore(2), Event(), Event()
        queue = Queue()
        event.set()
        queue.put(1)
        def wait():
            with condition:
                condition.notify_all()
                return condition.wait(timeout=0.01)
        def acquire(): return [semaphore.acquire(blocking=False) for _ in range(3)]
        def look(): return event.wait(5), unset.is_set()
        def get():
            queue.put(2)
            return queue.get(timeout=5), queue.get(timeout=5)
        print(call(wait), call(acquire))  # False [True, True, False]
        print(call(look), call(get))  # (True, False) (1, 2)
        """,
    "loggers, an adapter and a handler": """
        import logging
        logging.basicConfig(level=logging.ERROR)
        log, handler = logging.getLogger("my.script"), logging.StreamHandler()
        adapter = logging.LoggerAdapter(logging.getLogger("my.script"), {"a": 1})
        def use():
            log.info("something")
            return log.name, log is logging.getLogger("my.script")
        def adapt():
            adapter.debug("something")
            return handler.level, adapter.extra
        class Worker:
            log = logging.getLogger(__name__)
            def work(self):
                self.log.debug("working")
                return Worker.log.name
        print(call(use), call(adapt))  # ('my.script', True) (0, {'a': 1})
        print(call(Worker().work))  # __main__
        """,
    "a TaskList": """
        tasklist = TaskList("other", post_clean=True)
        def use(x): return type(tasklist).__name__, x
        tasklist.schedule(defer(abs, -1))
        print(call(use, 2))  # ('TaskList', 2)
        print([task.returnvalue for task in tasklist.run()])  # [1]
        """,
    "files that are open for reading, or in memory, and the standard streams": """
        Path("input.txt").write_text("first\\nsecond\\n")
        text, script = open("input.txt"), open(__file__, "rb")
        def use(): return text.readline()
        def use_both(file): return script.readline() == file.readline()
        print(repr(call(use)), call(use_both, open(__file__, "rb")))  # 'first\\n' True
        print(script.readline()[:6])  # b'import'
        import io
        buffer = io.StringIO("first+")
        buffer.seek(0, 2)
        def write():
            buffer.write("second")
            return buffer.getvalue()
        print(call(write), buffer.getvalue())  # first+second first+
        from sys import stdout
        def log(text, file=sys.stderr): print(text, file=file)
        def use_streams():
            log("something")
            return sys.stdout is stdout, log.__defaults__ == (sys.stderr,)
        print(call(use_streams))  # (True, True)
        """,
    "containers and iterators of the standard library": """
        from collections import ChainMap, Counter, defaultdict, deque
        from types import MappingProxyType, SimpleNamespace
        default = 7
        table, count, last = defaultdict(lambda: default), Counter("abb"), deque([1], 1)
        chain, proxy = ChainMap({}, {"a": 2}), MappingProxyType({"a": 1})
        space, steps = SimpleNamespace(a=1), iter(range(5, 9))
        def use():
            last.append(3)
            return table["x"], count["b"], last[0], chain["a"], proxy["a"], space.a
        numbers, letters = iter([1, 2, 3]), enumerate("ab")
        next(numbers)
        pairs, texts = zip([1], [2]), map(str, [1])
        def iterate(): return next(numbers), next(letters), next(pairs), next(texts)
        print(call(use), call(lambda: next(steps)))  # (7, 2, 3, 2, 1, 1) 5
        print(call(iterate), next(numbers))  # (2, (0, 'a'), (1, 2), '1') 2
        """,
    "singletons, types without a name, and a sentinel": """
        nothing, dots, kind, function = NotImplemented, ..., type(None), type(lambda: 0)
        def use():
            return nothing is NotImplemented, dots is ..., kind(), function is type(use)
        print(call(use))  # (True, True, None, True)
        MISSING = object()
        def get(x=MISSING): return "missing" if x is MISSING else x
        def get_two(): return get(), get(1)
        print(call(get_two), call(get))  # ('missing', 1) missing
        """,
    "what belongs to a script: its files, name and directory": """
        import os
        import tempfile
        temporary = tempfile.TemporaryDirectory(dir=".")
        def look(): return os.path.isdir(temporary.name)
        print(call(look), look())  # True True
        def use():
            return Path(__file__).name, (Path(__file__).parent / "beside.py").exists()
        def names(): return __name__, __doc__
        def directory(): return os.path.basename(os.getcwd())
        print(call(use), call(names)[0])  # ('script.py', True) __main__
        os.mkdir("other")
        os.chdir("other")
        print(call(directory))  # other
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("-n", type=int, default=3)
        args = parser.parse_args([])
        def parse(*line): return args.n, parser.parse_args(line).n
        print(call(parse, "-n", "4"))  # (3, 4)
        """,
    "globals that need others to be loaded, and each other": """
        offset = 40
        class Key:
            def __init__(self, x): self.x = x
            def __hash__(self): return hash(self.x + offset)
            def __eq__(self, other): return self.x == other.x
        table = {Key(1): 2}
        def look(): return table[Key(1)]
        def add(fun): return offset + fun()
        print(call(add, look))  # 42
        class Salted:
            def __init__(self, name): self.name = name
            def __hash__(self): return salted(self.name)
            def __eq__(self, other): return self.name == other.name
        def salted(name): return hash(name + "salt")
        names = {Salted("a"): 1}
        def find(name): return names[Salted(name)]
        print(call(find, "a"))  # 1
        class Stateful:
            def __getstate__(self): return {"x": 1}
            def __setstate__(self, state): self.x = shifted(state["x"])
        stateful = Stateful()
        def use(): return stateful.x
        def shifted(x): return x + offset
        print(call(use))  # 41
        def even(n): return n == 0 or functions["odd"](n - 1)
        def odd(n): return n != 0 and functions["even"](n - 1)
        functions = {"even": even, "odd": odd}
        print(call(functions["even"], 7))  # False
        """,
}

NAMES = {
    "imports of modules and of names": """
        import collections as c
        import math
        import os.path
        from collections import Counter as Count, OrderedDict as Ordered
        from math import *
        from runforrest import *
        from time import time
        try:
            import nothing_of_this_name as nothing
        except ImportError:
            nothing = None
        def area(r): return round(math.pi * r ** 2, 3)
        def count(text): return c.Counter(text).most_common(1)
        def order(text): return Ordered(Count(text))["b"]
        def root(x): return sqrt(x) + floor(pi)
        def use(module, path): return module.sqrt(4), os.path.basename(path), time() > 0
        print(call(area, 1), call(count, "abba!b"))  # 3.142 [('b', 3)]
        print(call(order, "abba!b"), call(root, 4))  # 3 5.0
        print(call(use, math, "a/b"), evaluate(defer(root, 1)))  # (2.0, 'b', True) 4.0
        print(call(lambda: nothing is None))  # True
        """,
    "submodules": """
        import xml.dom
        import xml.etree.ElementTree
        import xml.etree.ElementTree as ET
        from concurrent import futures
        def tag(text): return xml.etree.ElementTree.fromstring(text).tag
        def find(): return xml.dom
        def tag_in_thread(text):
            with futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(ET.fromstring, text).result().tag
        def parse(text):
            import xml.dom.minidom
            return xml.dom.minidom.parseString(text).documentElement.tagName
        print(call(tag, "<a/>"), call(find).__name__)  # a xml.dom
        print(call(tag_in_thread, "<a/>"), call(parse, "<b/>"))  # a b
        """,
    "submodules of a module with another name": """
        import concurrent as together
        import concurrent.futures
        import xml.dom as tree
        import xml.dom.minidom
        def tag(text): return tree.minidom.parseString(text).documentElement.tagName
        def use(text):
            with together.futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(tag, text).result()
        print(call(tag, "<a/>"), call(use, "<b/>"))  # a b
        """,
    "a submodule that is imported later, and one that others use": """
        import wsgiref
        def name(): return wsgiref.headers.__name__
        print(run(defer(name)).returnvalue)  # None
        import wsgiref.headers
        print(call(name))  # wsgiref.headers
        import email.mime.text
        def other(): return email.mime.text.MIMEText("text")
        def use(): return "email.mime.text" in sys.modules
        print(call(use))  # False
        """,
    "numpy, its arrays, and a subclass": """
        import numpy as np
        from numpy import arange, float32 as single
        def norm(x): return float(np.linalg.norm(x))
        weights = np.array([1.0, 2.0], dtype=single)
        def weigh(x): return weights * x
        large = np.arange(1_000_000)
        def total(i): return int(large[:i].sum())
        print(call(norm, [3, 4]), large.nbytes, call(total, 5))  # 5.0 8000000 10
        weighed = call(weigh, arange(2, dtype=single))
        print(weighed, weighed.dtype, weighed.flags.writeable)  # [0. 2.] float32 True
        class Signal(np.ndarray):
            def power(self): return int((self ** 2).sum())
        def make(n): return np.arange(n).view(Signal)
        signal = call(make, 3)
        print(isinstance(signal, Signal), signal.power())  # True 5
        @np.vectorize
        def double(x): return 2 * x
        table = np.zeros(2, np.dtype([("a", int), ("b", float)]))
        masked, mixed = np.ma.array([1, 2], mask=[0, 1]), np.array([len, "a"])
        def use():
            return double([1, 2]).tolist(), len(table["b"]), int(masked.sum()), mixed[1]
        print(call(use))  # ([2, 4], 2, 1, 'a')
        """,
    "own names that the library, its module or Python has, too": """
        import runforrest as library
        from runforrest import defer as postpone
        len = lambda x: "my len"
        def print_(x): return "printed " + x
        def time(): return "my time"
        os, sys, pickle = "my os", "my sys", "my pickle"
        def use(): return len(""), print_("it"), max(1, 2), time(), os, sys, pickle
        print(call(use))
        # ('my len', 'printed it', 2, 'my time', 'my os', 'my sys', 'my pickle')
        def main(x): return evaluate(x) + run_task(x)
        def evaluate(x): return 2 * x
        def run_task(x): return 0.5
        class runforrest: TaskList = "mine"
        class Task:
            def __init__(self, name): self.name = name
        def rename(task, name): return Task(task.name + name)
        renamed = call(rename, Task("a"), "b")
        print(type(renamed) is Task, renamed.name)  # True ab
        print(call(main, 21), call(lambda: runforrest.TaskList))  # 42.5 mine
        def defer(fun): return "deferred " + fun.__name__
        def delayed(fun): return defer(fun) + " delayed"
        print(run(postpone(delayed, abs)).returnvalue)  # deferred abs delayed
        """,
    "values of the standard library": """
        import itertools as it
        import re
        from datetime import date, datetime, timedelta, timezone
        from decimal import Decimal
        from fractions import Fraction
        from operator import itemgetter, methodcaller
        here, third, cent = Path("a"), Fraction(1, 3), Decimal("0.01")
        start, day = datetime(2000, 2, 28, tzinfo=timezone.utc), timedelta(days=1)
        word, odd = re.compile(r"b\\w+", re.IGNORECASE), range(1, 9, 2)
        second, upper = itemgetter(1), methodcaller("upper")
        def join(name): return here / name
        def later(days): return start + days * day, date(2000, 1, days)
        def scale(x, y): return third * x, cent * y
        def find(text): return word.findall(text)
        def use(text): return second(upper(text)), list(it.accumulate(odd))
        print(repr(call(join, Path("b"))))  # PosixPath('a/b')
        print(*call(later, 2))  # 2000-03-01 00:00:00+00:00 2000-01-02
        print(*call(scale, 2, Decimal(3)))  # 2/3 0.03
        print(call(find, "abc Bcd"), *call(use, "abc"))  # ['bc', 'Bcd'] B [1, 4, 9, 16]
        """,
    "modules beside the script, and in a directory that was added to sys.path": """
        import beside
        from beside import Thing as Base
        from beside import double as twice
        def use(x): return beside.double(x)
        class Thing(Base): kind = "my " + Base.kind
        def use_names(x): return Thing().kind, twice(x)
        print(call(use, 1), call(beside.double, 2), call(use_names, 1))
        # 2 4 ('my thing', 2)
        print(type(call(beside.Thing)) is Base, beside.Thing().kind)  # True thing
        Path("modules").mkdir()
        Path("modules", "added.py").write_text("def double(x): return 2 * x")
        sys.path.append("modules")
        import added
        print(call(added.double, 21), call(lambda x: added.double(x), 1))  # 42 2
        """,
}

CLASSES = {
    "a class and its instances, as arguments, globals and results": """
        class Point:
            def __init__(self, x, *, y=0): self.x, self.y = x, helper(y)
            def moved(self, by): return Point(self.x + by)
        def helper(y): return y + 1
        def move(point): return point.moved(unit)
        unit = 10
        moved = call(move, Point(1))
        print(moved.x, isinstance(moved, Point), type(moved) is Point)  # 11 True True
        point = call(Point, 1, y=2)
        print(type(point) is Point, point.x, point.y)  # True 1 3
        print(call(move, call(move, Point(0))).x)  # 20
        def get(): return Point
        def check(given, kind, default=None):
            return type(given) is kind, kind is Point, type(origin) is kind
        origin = Point(0)
        print(call(get) is Point, *call(check, Point(1), Point))  # True True True True
        def double(x): return 2 * x
        def swap(pair):
            fun, cls = pair
            return cls, fun, cls(0), fun(1)
        cls, fun, made, two = call(swap, (double, Point))
        print(cls is Point, fun is double, type(made) is Point, two)  # True True True 2
        def make(n):
            return {"points": [Point(i) for i in range(n)], "by": {(1, 2): Point(9)}}
        made = call(make, 2)
        print([type(p) is Point for p in made["points"]])  # [True, True]
        print(isinstance(made["by"][1, 2], Point), made["by"][1, 2].x)  # True 9
        """,
    "bound methods, and instances that can be called": """
        class Register:
            def __init__(self): self.items = []
            def add(self, item):
                self.items.append(item * unit)
                return self
        unit, register = 10, Register()
        add = register.add
        def use():
            add(1)
            return register.items
        print(call(use), call(register.add, 4).items, register.items)  # [10] [40] []
        class Adder:
            def __init__(self, n): self.n = n
            def __call__(self, x): return x + self.n + offset
        offset = 100
        plus = Adder(2)
        def use_instance(x): return plus(x)
        print(call(Adder(1), 40), call(plus, 40), call(use_instance, 40))  # 141 142 142
        """,
    "a graph of instances": """
        class Node:
            def __init__(self, name): self.name, self.links = name, []
        def link(a, b):
            a.links.append(b)
            b.links.append(a)
            return a
        node = call(link, Node("a"), Node("b"))
        print(node.links[0].links[0] is node, node.links[0].name)  # True b
        """,
    "inheritance and super": """
        class Animal:
            def __init__(self, name): self.name = name
            def describe(self): return self.name
        class Dog(Animal):
            def __init__(self, name): super().__init__(name.title())
            def describe(self): return "dog " + super().describe()
        class Loud(Animal):
            def describe(self): return "loud " + super().describe()
        class Puppy(Loud, Dog):
            def describe(self): return "young " + super().describe()
        def describe(name): return Puppy(name).describe()
        print(call(describe, "rex"))  # young loud dog Rex
        print(call(Puppy("rex").describe))  # young loud dog Rex
        """,
    "properties, classmethods and staticmethods": """
        from functools import cached_property
        class Circle:
            count = 0
            def __init__(self, r):
                self._r = r
                Circle.count += 1
            @property
            def r(self): return self._r
            @r.setter
            def r(self, r): self._r = self.checked(r)
            @classmethod
            def unit(cls): return cls(1)
            @staticmethod
            def checked(r): return abs(r)
            @cached_property
            def large(self): return compute()
        def compute(): return 42
        def grow():
            circle = Circle.unit()
            circle.r = -5
            return circle, Circle.count
        circle, count = call(grow)
        print(circle.r, count, Circle.count)  # 5 1 0
        print(call(Circle.unit).r, call(Circle.checked, -1))  # 1 1
        print(run(defer(circle).large).returnvalue, vars(circle))  # 42 {'_r': 5}
        """,
    "slots, also with private names and documentation": """
        class Point:
            __slots__ = ("x", "y")
            def __init__(self, x, y): self.x, self.y = x, y
        class Point3(Point): __slots__ = ("z",)
        def flip(point):
            flipped = Point3(point.y, point.x)
            flipped.z = 3
            return flipped
        point = call(flip, Point(1, 2))
        print(type(point) is Point3, point.x, point.y, point.z)  # True 2 1 3
        print(hasattr(point, "__dict__"))  # False
        class Private:
            __slots__ = {"__x": "private", "y": "public", "__weakref__": ""}
            def __init__(self):
                self.__x = 1
                self.y = self.__next()
            def __next(self): return self.__x + 1
        class Holder: __slots__ = "held"
        def use(point):
            holder = Holder()
            holder.held = Private(), point
            return holder
        print([private.y for private in call(use, Private()).held])  # [2, 2]
        """,
    "metaclasses": """
        class Registry(type):
            def __new__(meta, name, bases, body, **options):
                cls = super().__new__(meta, name, bases, body)
                cls.tag = options.get("tag", name.lower())
                return cls
            def __len__(cls): return len(cls.tag)
            def __init__(cls, name, bases, body, **options):
                super().__init__(name, bases, body)
        class Base(metaclass=Registry): pass
        class Plugin(Base, tag="plug"):
            def get(self): return type(self).tag, len(Plugin), len(Base)
        def use(): return Plugin().get()
        print(call(use), type(call(Plugin)) is Plugin)  # ('plug', 4, 4) True
        class Meta(type):
            def __init__(cls, name, bases, body):
                super().__init__(name, bases, body)
                registry.append(name)
        registry = []
        class Csv(metaclass=Meta): pass
        def look(): return registry, Csv.__name__
        print(call(look))  # (['Csv'], 'Csv')
        """,
    "__init_subclass__ and a decorator that register classes": """
        class Plugin:
            registry = {}
            def __init_subclass__(cls, /, name, **options):
                super().__init_subclass__(**options)
                Plugin.registry[name] = cls
        class Csv(Plugin, name="csv"):
            def read(self): return "a,b"
        def use(name): return Plugin.registry[name]().read()
        print(call(use, "csv"))  # a,b
        registry = {}
        def register(cls):
            registry[cls.__name__] = cls
            return cls
        @register
        class Tsv:
            def read(self): return "a b"
        def look(name): return registry[name]().read(), registry["Tsv"] is Tsv
        print(call(look, "Tsv"))  # ('a b', True)
        """,
    "__init_subclass__ with a required argument": """
        class Plugin:
            names = []
            def __init_subclass__(cls, /, name):
                Plugin.names.append(name)
                cls.name = name
        class Csv(Plugin, name="csv"): pass
        def use(): return Csv.name, Csv().names
        print(call(use))  # ('csv', ['csv'])
        """,
    "__init_subclass__ that registers": """
        class Plugin:
            def __init_subclass__(cls): registry.append(cls.__name__)
        registry = []
        class Csv(Plugin): pass
        def use(): return registry, Csv.__name__
        print(call(use))  # (['Csv'], 'Csv')
        """,
    "operators, instances as keys, iterators and context managers": """
        from functools import total_ordering
        @total_ordering
        class Vector:
            def __init__(self, *x): self.x = x
            def __add__(self, other):
                return Vector(*(a + b for a, b in zip(self.x, other.x)))
            __radd__ = __add__
            def __mul__(self, factor): return Vector(*(a * factor for a in self.x))
            def __eq__(self, other): return self.x == other.x
            def __lt__(self, other): return self.x < other.x
            def __hash__(self): return hash(salted(self.x))
            def __getitem__(self, i): return self.x[i]
            def __repr__(self): return f"Vector{self.x}"
        def salted(x): return *x, "salt"
        def combine(a, b): return a + b * 2, max(a, b), {a: "a"}[Vector(1, 2)], b[0]
        print(call(combine, Vector(1, 2), Vector(3, 4)))
        # (Vector(7, 10), Vector(3, 4), 'a', 3)
        def find(table, keys, *x): return table[Vector(*x)], Vector(*x) in keys
        a, b = Vector(1), Vector(2)
        print(call(find, {a: 1, b: 2}, {a}, 1))  # (1, True)
        print(call(dict.fromkeys, [a])[Vector(1)])  # None
        class Countdown:
            def __init__(self, n): self.n = n
            def __iter__(self): return self
            def __next__(self):
                if self.n == 0:
                    raise StopIteration
                self.n -= 1
                return self.n
            def __enter__(self): return self
            def __exit__(self, *error):
                self.n = 0
                return True
        def use(countdown):
            with countdown as c:
                first = next(c)
                raise ValueError
            return first, list(countdown)
        print(*call(iter, Countdown(3)), call(use, Countdown(3)))  # 2 1 0 (2, [])
        """,
    "pickles and copies, also with methods of their own": """
        class Reduced:
            def __init__(self, x): self.x = x
            def __reduce__(self): return make, (self.x + 1,)
        class Stateful:
            def __getstate__(self): return {"x": 1}
            def __setstate__(self, state): self.x = state["x"] + offset
        def make(x): return Reduced(x)
        def use(a, b): return a.x, b.x
        offset = 10
        print(call(use, Reduced(1), Stateful()))  # (2, 11)
        import copy
        import pickle
        class Point: pass
        def copies():
            point = copy.deepcopy(pickle.loads(pickle.dumps(Point())))
            return type(point) is Point, pickle.loads(pickle.dumps(copies)) is copies
        print(call(copies))  # (True, True)
        """,
    "descriptors, properties of functions, and special methods": """
        class Positive:
            def __set_name__(self, owner, name): self.name = "_" + name
            def __get__(self, instance, owner): return getattr(instance, self.name)
            def __set__(self, instance, value):
                setattr(instance, self.name, checked(value))
        class Order: amount = Positive()
        def checked(value): return max(value, 0)
        def order(amount):
            made = Order()
            made.amount = amount
            return made
        print(call(order, -1).amount, call(order, 2).amount)  # 0 2
        def get_x(self): return self._x
        def set_x(self, x): self._x = scale * x
        class Point:
            x = property(get_x, set_x)
            __call__ = lambda self: self.x
            def __getattr__(self, name):
                if name.startswith("_"):
                    raise AttributeError(name)
                return "no " + name
            def __class_getitem__(cls, key): return key
        def use():
            point = Point()
            point.x = 2
            return point(), point.z, Point[3]
        scale = 2
        print(call(use))  # (4, 'no z', 3)
        """,
    "a comprehension and a nested class in a class": """
        class Table:
            size = 3
            squares = [i ** 2 for i in range(3)]
            class Row:
                class Cell: value = 42
            def row(self): return self.Row(), Table.Row.Cell()
        def use(): return Table.squares, Table().row()
        squares, (row, cell) = call(use)
        print(squares, type(row) is Table.Row, cell.value)  # [0, 1, 4] True 42
        print([type(it) is Table.Row.Cell for it in (cell, call(Table.Row.Cell))])
        # [True, True]
        """,
    "classes in functions": """
        def make(n):
            class Local:
                def get(self): return n + constant
            return Local
        constant = 40
        Local = make(2)
        print(call(Local().get), call(lambda: make(3)().get()))  # 42 43
        print(call(make, 4)().get())  # 44
        def use():
            class Local: size = constant
            return Local.size
        print(call(use))  # 40
        class Point: pass
        def make_point():
            class Local(Point):
                def __init__(self): self.point = Point()
            return Local()
        made = call(make_point)
        print(isinstance(made, Point), type(made.point) is Point)  # True True
        def make_root():
            class Node:
                def __init__(self, *children): self.children = children
                def count(self): return 1 + sum(node.count() for node in self.children)
                @classmethod
                def pair(cls): return cls(Node(), Node())
            class Root(Node):
                def count(self): return 100 + super().count()
            return Root
        print(call(make_root().pair().count))  # 103
        """,
    "a class of a function, its instance and its exception": """
        def make():
            class Local: pass
            class LocalError(Exception): pass
            return Local, LocalError
        Local, LocalError = make()
        def use(local):
            try:
                raise LocalError("wrong")
            except LocalError as error:
                return isinstance(local, Local), str(error)
        print(call(use, Local()))  # (True, 'wrong')
        """,
    "classes that were made by type, and changed later": """
        def get(self): return self.x
        Made = type("Made", (), {"x": 42, "get": get})
        made = call(Made)
        print(type(made) is Made, call(made.get))  # True 42
        class Settings: verbose = False
        def use(): return Settings.verbose, Settings.added()
        Settings.verbose = True
        Settings.added = staticmethod(lambda: "added")
        print(call(use))  # (True, 'added')
        """,
    "subclasses of builtins": """
        class Names(list):
            def joined(self): return "-".join(self)
        class Count(dict):
            def __missing__(self, key): return default
        class Meters(float):
            def __repr__(self): return f"{float(self)} m"
        default = 7
        def use(names, count): return names.joined(), count["b"], Meters(2), Names("ab")
        used = call(use, Names("xy"), Count(a=1))
        print(used, type(used[-1]) is Names)  # ('x-y', 7, 2.0 m, ['a', 'b']) True
        """,
    "a singleton, and a class with instances of itself": """
        class Singleton:
            instance = None
            def __new__(cls):
                if cls.instance is None:
                    cls.instance = super().__new__(cls)
                return cls.instance
        def use(): return Singleton() is Singleton(), single is Singleton()
        single = Singleton()
        print(call(use))  # (True, True)
        class Color:
            def __init__(self, name): self.name = name
        Color.RED = Color("red")
        Color.ALL = [Color.RED, Color("blue")]
        def check(color):
            return type(color) is Color, Color.ALL[0] is Color.RED, Color.ALL[1].name
        print(call(check, Color.RED))  # (True, True, 'blue')
        """,
    "a sentinel as an argument": """
        MISSING = object()
        def get(x): return "missing" if x is MISSING else x
        print(call(get, MISSING))  # missing
        """,
    "a sentinel that is pickled by its name": """
        class Sentinel:
            def __reduce__(self): return "MISSING"
        MISSING = Sentinel()
        def get(x=None): return "missing" if x is MISSING else x
        def use(): return MISSING
        print(call(get, MISSING), call(use) is MISSING)  # missing True
        """,
    "weak references and finalizers": """
        import weakref
        class Thing:
            def __del__(self): log.append("gone")
        log = []
        def use():
            thing = Thing()
            reference = weakref.ref(thing)
            del thing
            return reference(), log
        class Known:
            instances = weakref.WeakSet()
            def __init__(self): Known.instances.add(self)
        first = Known()
        def look():
            second = Known()
            return first in Known.instances, second in Known.instances
        print(call(use), call(look))  # (None, ['gone']) (True, True)
        """,
    "classes that were defined again, or hidden by what they made": """
        class Point: x = 1
        old = Point()
        class Point: x = 2
        def use(point): return point.x, Point().x, old.x
        print(call(use, old))  # (1, 2, 1)
        class config: x = 1
        def data(): return [config.x]
        get, config = data, config()
        data = data()
        def look(): return config.x, data, get()
        print(call(look), call(get), call(lambda c: c.x, config))  # (1, [1], [1]) [1] 1
        """,
    "metadata": """
        class Point: x = 42
        tasklist = TaskList("tasklist")
        tasklist.schedule(defer(abs, -1), metadata={"at": Point()})
        [task] = tasklist.run(nprocesses=1)
        point = task.metadata["at"]
        print(type(point) is Point, point.x, task.returnvalue)  # True 42 1
        """,
}

TYPES = {
    "dataclasses, nested and inherited": """
        from dataclasses import asdict
        @dataclass
        class Point:
            x: float
            y: float = 0.5
        def flip(point): return Point(point.y, point.x)
        print(call(flip, Point(1)) == Point(0.5, 1), call(Point, 2))
        # True Point(x=2, y=0.5)
        @dataclass
        class Bag:
            items: list = field(default_factory=lambda: [first])
            size: int = field(init=False, repr=False)
            def __post_init__(self): self.size = measure(self.items)
        def measure(items): return len(items)
        first = "a"
        def make(): return Bag(), asdict(Bag([1, 2]))
        print(call(make))  # (Bag(items=['a']), {'items': [1, 2], 'size': 2})
        @dataclass
        class Named(Point): name: str = "no name"
        @dataclass
        class Line:
            start: Point
            end: Named = field(default_factory=lambda: Named(7))
        def turn(line): return Line(line.end, line.start)
        print(call(turn, Line(Point(1))))
        # Line(start=Named(x=7, y=0.5, name='no name'), end=Point(x=1, y=0.5))
        """,
    "dataclasses that are frozen, have slots, or that a task extends": """
        from dataclasses import KW_ONLY, FrozenInstanceError, InitVar, fields, replace
        @dataclass(frozen=True, order=True)
        class Frozen:
            x: int
            y: int
        def move(point):
            try:
                point.x = 5
            except FrozenInstanceError:
                return replace(point, x=point.x + 1)
        moved = call(move, Frozen(1, 2))
        print(moved, hash(moved) == hash(Frozen(2, 2)), moved > Frozen(1, 9))
        # Frozen(x=2, y=2) True True
        @dataclass(slots=True, kw_only=True)
        class Slotted:
            x: int
            y: int = 2
        def flip(point): return Slotted(x=point.y, y=point.x)
        @dataclass(frozen=True, slots=True)
        class Both: x: int
        def use(point): return Both(point.x + 1)
        print(call(flip, Slotted(x=1)), call(use, Both(1)))
        # Slotted(x=2, y=1) Both(x=2)
        from typing import ClassVar
        @dataclass
        class Base:
            x: int
            y: list = field(default_factory=list, metadata={"unit": "m"})
            kind: ClassVar[str] = "base"
            z: InitVar[int] = 4
            _: KW_ONLY
            last: int = 5
            def __post_init__(self, z): self.doubled = 2 * z
        def extend():
            @dataclass
            class Extended(Base): more: int = 2
            return [field.name for field in fields(Extended)], Extended(1).doubled
        print(call(extend))  # (['x', 'y', 'last', 'more'], 8)
        """,
    "Enums, with methods and values of their own": """
        class Color(Enum):
            RED = 1
            GREEN = "g"
            CRIMSON = 1
        def other(color): return Color.GREEN if color is Color.RED else Color("g")
        print(call(other, Color.RED) is Color.GREEN, call(list, Color))
        # True [<Color.RED: 1>, <Color.GREEN: 'g'>]
        class Planet(Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.39)
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
            @property
            def gravity(self): return round(G * self.mass / self.radius ** 2, 1)
            @classmethod
            def heaviest(cls): return max(cls, key=lambda planet: planet.mass)
            @classmethod
            def _missing_(cls, value): return cls.MARS if value == "red" else None
            def _describe(self): return "planet " + self.name
            def __str__(self): return self._describe()
        G = 66.7
        def use(planet): return planet.gravity, Planet.heaviest(), Planet.MARS.radius
        def find(): return Planet("red") is Planet.MARS, f"{Planet.MARS}"
        print(call(use, Planet.EARTH))  # (9.8, <Planet.EARTH: (5.97, 6.37)>, 3.39)
        print(call(find))  # (True, 'planet MARS')
        """,
    "an IntEnum, a StrEnum, Flags and automatic values": """
        from enum import Flag, IntEnum, IntFlag, StrEnum, auto, unique
        class Level(IntEnum):
            LOW = auto()
            HIGH = auto()
        class Mode(StrEnum): READ = auto()
        def use(level): return level + 1, Level(level + 1), "mode " + Mode.READ
        two, level, text = call(use, Level.LOW)
        print(two, level is Level.HIGH, text)  # 2 True mode read
        @unique
        class Step(Enum):
            def _generate_next_value_(name, start, count, last_values):
                return name.lower()
            FIRST = auto()
            SECOND = auto()
        def values(): return [step.value for step in Step]
        print(call(values), call(Step, "second") is Step.SECOND)
        # ['first', 'second'] True
        class Right(Flag):
            READ = auto()
            WRITE = auto()
            ALL = READ | WRITE
        class Bits(IntFlag):
            A = 1
            B = 2
        def grant(right):
            return right | Right.WRITE, Right.READ in right, Bits.A | Bits.B
        right, has, bits = call(grant, Right.READ)
        print(right is Right.ALL, has, bits == 3, type(bits) is Bits)
        # True True True True
        """,
    "an Enum that is not found by its name": """
        def make():
            class Mode(Enum):
                FAST = 1
                SLOW = FAST, 2
            return Mode
        Kind, Colour = make(), Enum("Color", "RED GREEN")
        def use(*members):
            return [member.name for member in members], Colour(2).name, *members
        names, name, mode, colour = call(use, Kind.FAST, Colour.GREEN)
        print(names, name, mode.value, colour.value)  # ['FAST', 'GREEN'] GREEN 1 2
        """,
    "Enums that make and number their members, and one of another module": """
        class Coordinate(bytes, Enum):
            def __new__(cls, value, label):
                made = bytes.__new__(cls, [value])
                made._value_ = value
                made.label = label
                return made
            PX = (0, "P.X")
            PY = (1, "P.Y")
        def use():
            member = Coordinate(1)
            return member is Coordinate.PY, member.label, len(member)
        class Level(Enum):
            def __new__(cls, *args):
                made = object.__new__(cls)
                made._value_ = len(cls.__members__) + 1
                return made
            def __init__(self, weight): self.weight = weight
            LOW = 10
            HIGH = 20
        def look(): return Level(2) is Level.HIGH, Level.HIGH.weight
        print(call(use), call(look))  # (True, 'P.Y', 1) (True, 20)
        from http import HTTPStatus
        from signal import SIGTERM
        good = [HTTPStatus.OK]
        def use_others(status=HTTPStatus.OK):
            return good[0] is HTTPStatus.OK is status, SIGTERM
        print(call(use_others) == (True, SIGTERM))  # True
        """,
    "Enums of dataclasses, in one, and as keys": """
        @dataclass(frozen=True)
        class Animal: legs: int
        class Pet(Animal, Enum):
            DOG = 4
            BIRD = 2
        def use(): return Pet.DOG.legs, [pet.name for pet in Pet if pet.legs == 2]
        class Mode(Enum): FAST = "fast"
        @dataclass
        class Config:
            mode: Mode = Mode.FAST
            parts: dict[str, "Config"] = field(default_factory=dict)
        def configure(config):
            return config.mode is Mode.FAST, Config(parts={"a": config})
        same, config = call(configure, Config())
        print(same, config == Config(parts={"a": Config()}), call(use))
        # True True (4, ['BIRD'])
        table = {Mode.FAST: "fast", Animal(1): "animal"}
        def look(): return table[Mode.FAST], table[Animal(1)]
        print(call(look))  # ('fast', 'animal')
        """,
    "named tuples, and types that functions make": """
        from collections import namedtuple
        from typing import NamedTuple
        class Point(NamedTuple):
            x: int
            y: int = 0
            def swapped(self): return Point(self.y, self.x)
            @property
            def total(self): return sum(self)
        def swap(point): return point.swapped()
        point = call(swap, Point(1))
        print(point, point.total, type(point) is Point)  # Point(x=0, y=1) 1 True
        Pair = namedtuple("Pair", "x y", defaults=[5])
        def swap_pair(pair): return Pair(pair.y, pair.x)._replace(x=6)
        print(call(swap_pair, Pair(1)), call(Pair, 1).y)  # Pair(x=6, y=1) 5
        class Sub(namedtuple("Sub", "x y")):
            __slots__ = ()
            def __new__(cls, x, y=5): return super().__new__(cls, x, y)
            def total(self): return self.x + self.y
        def use(sub): return Sub(sub.total())
        sub = call(use, Sub(1))
        print(sub, type(sub) is Sub)  # Sub(x=6, y=5) True
        Color = Enum("Color", "RED GREEN")
        Single = NamedTuple("Single", [("x", int)])
        def check(color, point):
            return color is Color.RED, point == Single(1), type(point) is Single
        print(call(check, Color.RED, Single(1)))  # (True, True, True)
        """,
    "a namedtuple with another name than its global": """
        from collections import namedtuple
        Point = namedtuple("Pair", "x y")
        def use(point): return isinstance(point, Point), point.x
        print(call(use, Point(1, 2)))  # (True, 1)
        """,
    "classes made by attrs": """
        import threading
        import attrs
        secret = threading.local()
        @attrs.define(order=True, slots=False)
        class Point:
            x: int
            tags: list = attrs.field(factory=list, hash=False)
        @attrs.frozen(slots=False)
        class Named(Point): name: str = "a"
        @attrs.define(slots=False)
        class Open: x: int = attrs.field(converter=int, default=1)
        def use(named):
            return Point(2) < Point(3), attrs.evolve(named, x=7), Open("5"), {named: 1}
        ordered, named, other, table = call(use, Named(1, name="b"))
        print(ordered, named, other)  # True Named(x=7, tags=[], name='b') Open(x=5)
        print(isinstance(named, Named), other == Open(5))  # True True
        """,
    "abstract classes and collections": """
        from abc import ABC, abstractmethod
        from collections.abc import Mapping, Sequence
        class Shape(ABC):
            @abstractmethod
            def area(self): ...
            def double(self): return 2 * self.area()
        class Square(Shape):
            def __init__(self, a): self.a = a
            def area(self): return self.a ** 2
        def use(shape):
            try:
                Shape()
            except TypeError:
                return isinstance(shape, Shape), shape.double()
        print(call(use, Square(3)), call(Square, 2).area())  # (True, 18) 4
        class Row(Sequence):
            def __init__(self, *items): self.items = items
            def __getitem__(self, i): return self.items[i]
            def __len__(self): return len(self.items)
        def look(row): return list(reversed(row)), 2 in row, isinstance(row, Mapping)
        print(call(look, Row(1, 2)))  # ([2, 1], True, False)
        print(type(call(Row)) is Row)  # True
        """,
    "a class registered with an abstract class": """
        from abc import ABC
        class Shape(ABC): pass
        @Shape.register
        class Blob: pass
        def check(thing): return isinstance(thing, Shape), isinstance(1, Shape)
        print(call(check, Blob()))  # (True, False)
        """,
    "protocols": """
        from typing import Protocol, runtime_checkable
        @runtime_checkable
        class Named(Protocol):
            def name(self) -> str: ...
        class Dog:
            def name(self): return "dog"
        def check(thing): return isinstance(thing, Named), isinstance(1, Named)
        print(call(check, Dog()))  # (True, False)
        """,
    "generic classes": """
        from abc import ABC, abstractmethod
        from typing import Generic, Protocol, TypeVar
        T = TypeVar("T")
        K = TypeVar("K", int, str)
        class Box(Generic[T]):
            def __init__(self, item: T) -> None: self.item = item
            def get(self) -> T: return self.item
        class IntBox(Box[int]): pass
        def rebox(box: Box[K]) -> Box[K]: return Box[int](box.get())
        print(call(rebox, IntBox(42)).get(), call(IntBox, 1).get())  # 42 1
        class Repository(ABC, Generic[T]):
            @property
            @abstractmethod
            def kind(self): ...
            @abstractmethod
            def get(self) -> T: ...
        @dataclass
        class Thing(Repository[int]):
            x: int
            kind = "thing"
            def get(self): return self.x
        class Gives(Protocol[T]):
            def get(self) -> T: ...
        class Giver(Gives[int]):
            def get(self): return 3
        def use(box: Repository[T]):
            names = sorted(Repository.__abstractmethods__)
            return box.get(), Giver().get(), Thing(2), names
        print(call(use, Thing(1)))  # (1, 3, Thing(x=2), ['get', 'kind'])
        """,
    "a TypedDict, and aliases of types": """
        from typing import Optional, TypedDict, Union
        class Movie(TypedDict, total=False):
            name: str
            year: int
        def age(movie: Movie) -> Movie:
            return Movie(name=movie["name"], year=movie["year"] + 1)
        print(call(age, Movie(name="a", year=1)))  # {'name': 'a', 'year': 2}
        Number = Union[int, float]
        Values = list[Number] | None
        def total(values: Values, start: Optional[Number] = 0) -> Number:
            return sum(values, start)
        def hints(): return Number.__args__, isinstance(1, int | str)
        print(call(total, [1, 2]), call(hints))
        # 3 ((<class 'int'>, <class 'float'>), True)
        """,
    "variables for types": """
        from typing import Annotated, Callable, Literal, ParamSpec, TypeVar
        P, R = ParamSpec("P"), TypeVar("R", covariant=True)
        def use(mode: Literal["r"], fun: Annotated[Callable[P, R], "any"] = None) -> R:
            return mode, P.__name__, R.__name__
        print(call(use, "r"))  # ('r', 'P', 'R')
        """,
}

EXCEPTIONS = {
    "exceptions that are raised, caught, given, and hold an instance": """
        class MyError(Exception): pass
        class DataError(MyError, ValueError): code = 7
        def fail(x): raise MyError("wrong", x)
        def fail_with_data(): raise DataError("broken")
        error = error_of(fail, 1)
        print(isinstance(error, MyError), error.args)  # True ('wrong', 1)
        try:
            raise error
        except MyError as error:
            print("caught", error)  # caught ('wrong', 1)
        try:
            call(fail_with_data)
        except MyError as error:
            print(type(error) is DataError, isinstance(error, ValueError), error.code)
            # True True 7
        class Point:
            def __init__(self, x): self.x = x
        class Two(Exception):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b
        def fail_with_point(): raise MyError(Point(42))
        def catch():
            try:
                fail_with_point()
            except MyError as error:
                return error
        def describe(error, kind):
            return isinstance(error, kind), kind is Two, error.args, error.b
        print(call(describe, Two(1, 2), Two))  # (True, True, (1,), 2)
        for error in call(catch), error_of(fail_with_point):
            [point] = error.args
            print(isinstance(error, MyError), type(point) is Point, point.x)
        # True True 42
        # True True 42
        """,
    "exceptions with an __init__ of their own": """
        class Required(Exception):
            def __init__(self, code, text):
                super().__init__(text)
                self.code = code
            def __str__(self): return f"{self.code}: {super().__str__()}"
        class KeywordOnly(Exception):
            def __init__(self, *, code): self.code = code
        @dataclass
        class Data(Exception):
            code: int
            text: str = "text"
        def fail(kind, *args, **kwargs): raise kind(*args, **kwargs)
        error = error_of(fail, Required, 404, "not found")
        print(type(error) is Required, error, error.code)  # True 404: not found 404
        error = error_of(lambda: fail(KeywordOnly, code=7))
        print(type(error) is KeywordOnly, error.code)  # True 7
        error = error_of(fail, Data, 7)
        print(type(error) is Data, error == Data(7))  # True True
        """,
    "exceptions made of their arguments, or that say how to pickle them": """
        def use():
            try:
                b"\\xff".decode()
            except UnicodeDecodeError as error:
                return error, SystemExit(3), StopIteration(4)
        error, end, stop = call(use)
        print(error.start, end.code, stop.value)  # 0 3 4
        print(str(error)[:19])  # 'utf-8' codec can't
        class Failure(Exception):
            def __init__(self, code): self.code = code
            def __reduce__(self): return Failure, (self.code,)
        def fail(): raise Failure(42)
        error = error_of(fail)
        print(type(error) is Failure, error.code)  # True 42
        """,
    "an exception that leaves a part of it out of its pickle": """
        class Failure(Exception):
            def __init__(self, code): self.code, self.file = code, (n for n in "ab")
            def __reduce__(self): return Failure, (self.code,)
        def fail(): raise Failure(42)
        print(type(error_of(fail)) is Failure)  # True
        """,
    "an exception with slots": """
        class Failure(Exception):
            __slots__ = ("code", "reason")
            def __init__(self, code, reason): self.code, self.reason = code, reason
        def use(): raise Failure(7, "it is full")
        error = error_of(use)
        print(type(error) is Failure, error.code, error.reason)  # True 7 it is full
        """,
    "an exception with a cause, and a traceback": """
        class MyError(Exception): pass
        def fail():
            try:
                {}["key"]
            except KeyError as error:
                raise MyError("no such thing") from error
        error = error_of(fail)
        print(type(error) is MyError, "KeyError: 'key'" in "".join(error.__notes__))
        # True True
        limit = 3
        def check(x): assert x < limit, f"{x} is too much"
        error = error_of(check, 5)
        print(repr(error))  # AssertionError('5 is too much')
        print("in check" in "".join(error.__notes__))  # True
        """,
    "groups of exceptions": """
        class MyError(Exception): pass
        def fail(): raise ExceptionGroup("several", [MyError(1), ValueError(2)])
        try:
            call(fail)
        except* MyError as group:
            print(group.exceptions)  # (MyError(1),)
        except* ValueError as group:
            print(group.exceptions)  # (ValueError(2),)
        class Several(ExceptionGroup):
            def __new__(cls, errors, code):
                made = super().__new__(cls, "several", errors)
                made.code = code
                return made
            def derive(self, errors): return Several(errors, self.code)
        def fail_with_code(): raise Several([KeyError(1)], 7)
        error = error_of(fail_with_code)
        print(type(error) is Several, error.exceptions, error.code)
        # True (KeyError(1),) 7
        """,
    "a warning, and an exception that has no name in the script": """
        import warnings
        class MyWarning(UserWarning): pass
        def warn():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.warn("careful", MyWarning)
            return caught[0].category is MyWarning, caught[0].message
        same, message = call(warn)
        print(same, type(message) is MyWarning)  # True True
        def make():
            class LocalError(Exception): pass
            return LocalError
        fail_with = make()
        def fail(): raise fail_with("wrong")
        error = error_of(fail)
        print(type(error).__name__, error)  # LocalError wrong
        """,
    "errors of the system and of the network": """
        from http.client import RemoteDisconnected
        class NotThere(OSError): pass
        class ApiError(OSError):
            def __init__(self, code, text):
                super().__init__(f"{code}: {text}")
                self.code = code
        def fail(kind, *args): raise kind(*args)
        error = error_of(fail, NotThere, 2, "not there", "name")
        print(type(error) is NotThere, error)  # True [Errno 2] not there: 'name'
        print(repr(error_of(fail, RemoteDisconnected, "gone")))
        # RemoteDisconnected('gone')
        error = error_of(fail, ApiError, 404, "no")
        print(repr(error), error.code)  # ApiError('404: no') 404
        """,
    "a subclass of OSError with an __init__": """
        class NotThere(OSError):
            def __init__(self, name): super().__init__(2, "not there", name)
        def fail(): raise NotThere("name")
        error = error_of(fail)
        print(type(error) is NotThere, error)  # True [Errno 2] not there: 'name'
        print(error.errno, error.filename)  # 2 name
        """,
}

NEWER = {  # than Python 3.11
    "a type alias": """
        type Pair[T] = tuple[T, T]
        def swap(pair: Pair[int]) -> Pair[int]: return pair[1], pair[0]
        def use(): return Pair.__name__
        print(call(swap, (1, 2)), call(use))  # (2, 1) Pair
        """,
    "a type alias that refers to itself": """
        type Json = dict[str, Json] | list[Json] | str
        def keys(data: Json) -> list[str]: return list(data)
        print(call(keys, {"a": "b"}))  # ['a']
        """,
    "nested quotes in f-strings and an override": """
        from typing import override
        class Base:
            def get(self): return "base"
        class Derived(Base):
            @override
            def get(self): return f"{", ".join(f"{name!r}" for name in names)}"
        names = ["a", "b"]
        print(call(Derived().get))  # 'a', 'b'
        """,
}

NEWEST = {
    "annotations that nobody evaluates": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from nowhere import Missing
        @dataclass
        class Node:
            value: Missing
            next: Node | None = None
            def last(self) -> Missing:
                return self.next.last() if self.next else self.value
        def use(node: Node, other: Missing = None):
            return node.last(), Node(2), use.__annotations__, Node.__annotations__
        last, node, *annotations = call(use, Node(1, Node(3)))
        print(last, isinstance(node, Node), annotations)  # 3 True [{}, {}]
        """,
    "annotations that are evaluated late": """
        def before(node: Node) -> Node: return Tree.__annotations__, node
        class Tree:
            node: Node
            def get(self) -> Node: return self.node
        class Node: tree: Tree
        of_class, node = call(before, Node())
        print(of_class == {"node": Node}, isinstance(node, Node))  # True True
        print(call(lambda tree: isinstance(tree, Tree), Tree()))  # True
        """,
}

GROUPS = [FUNCTIONS, GLOBALS, NAMES, CLASSES, TYPES, EXCEPTIONS]
if sys.version_info >= (3, 12):
    GROUPS.append(NEWER)
if sys.version_info >= (3, 14):
    GROUPS.append(NEWEST)
SCRIPTS = {name: source for group in GROUPS for name, source in group.items()}

# With save_session=True; what is found through its text is sent only then.
SESSIONS = {
    "what is found in globals(), by eval, and in the script as a module": """
        def hidden(x): return 2 * x
        def look(): return globals()["hidden"](21)
        def find(text): return eval(text)
        def use(): return sys.modules["__main__"].hidden(21)
        print(repr(error_of(look)), repr(error_of(find, "hidden(21)")))
        # KeyError('hidden') NameError("name 'hidden' is not defined")
        print(type(error_of(use)))  # <class 'AttributeError'>
        for task in defer(look), defer(find, "hidden(21)"), defer(use):
            print(run(task, save_session=True).returnvalue)
        # 42
        # 42
        # 42
        """,
    "the values of the session are those of the run": """
        constant = 1
        def get(): return constant
        tasklist = TaskList("tasklist")
        tasklist.schedule(defer(get))
        constant = 2
        run = tasklist.run(nprocesses=1, save_session=True)
        print([task.returnvalue for task in run])  # [2]
        """,
    "classes, enums, closures, locks and exceptions": """
        from threading import RLock
        class Color(Enum): RED = 1
        @dataclass
        class Point: color: Color = Color.RED
        def adder(n): return lambda x: x + n
        add, lock = adder(2), RLock()
        def use(point):
            with lock:
                return point == Point(), point.color is Color.RED, add(40), Point()
        *same, point = run(defer(use, Point()), save_session=True).returnvalue
        print(same, type(point) is Point)  # [True, True, 42] True
        class MyError(Exception):
            def __init__(self, a, b): super().__init__(a)
        def fail(): raise globals()["MyError"](1, 2)
        error = run(defer(fail), save_session=True).errorvalue
        print(type(error) is MyError, error)  # True 1
        """,
    "what cannot be sent is left out": """
        import sqlite3
        from concurrent.futures import ThreadPoolExecutor
        generator, connection = (x for x in [1]), sqlite3.connect(":memory:")
        pool, file = ThreadPoolExecutor(1), open("output.txt", "w")
        frame = sys._getframe()
        print("text", file=file, flush=True)
        def hidden(): return 42
        def find(): return globals()["hidden"]()
        print(run(defer(find), save_session=True).returnvalue)  # 42
        print(open("output.txt").read().strip())  # text
        """,
    "own main, evaluate, Task, time and os": """
        def main(): return evaluate("x")
        def evaluate(x): return "my " + x
        class Task: pass
        os, time, sys, args = "my os", "my time", "my sys", "my args"
        def use(): return main(), type(eval("Task()")) is Task, os, time, sys, args
        print(run(defer(use), save_session=True).returnvalue)
        # ('my x', True, 'my os', 'my time', 'my sys', 'my args')
        """,
}

# Each makes a global `thing`; behind it is a word of the reason why it stays behind.
OUT_OF_REACH = {
    "a generator": "thing = (x for x in [1])  # generator",
    "a coroutine": """
        async def wait(): return 1
        thing = wait()  # coroutine
        """,
    "a database connection": """
        import sqlite3
        thing = sqlite3.connect(":memory:")  # sqlite3
        """,
    "a pool of processes": """
        from multiprocessing import get_context
        thing = get_context("fork").Pool(1)  # pool
        """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor
        thing = ThreadPoolExecutor(1)  # queue
        """,
    "a thread-local": """
        import threading
        thing = threading.local()  # local
        thing.x = 1
        """,
    "a file that is open for writing": """
        thing = open("output.txt", "w")  # writing
        print("text", file=thing, flush=True)
        """,
    "a file that is open for appending": """
        thing = open("output.txt", "ab", buffering=0)  # writing
        thing.write(b"text\\n")
        """,
    "a file that is open for reading and writing": """
        thing = open("output.txt", "w+")  # writing
        print("text", file=thing, flush=True)
        """,
    "a socket": "import socket; thing = socket.socket()  # socket",
    "a context variable": """
        from contextvars import ContextVar
        thing = ContextVar("thing", default=1)  # ContextVar
        """,
    "a lock between processes": """
        from multiprocessing import Lock
        thing = Lock()  # inheritance
        """,
}

# The README lists these, and what to do: put the class into a module of its own.
LIMITS = {
    "__init_subclass__ that registers",
    "__init_subclass__ with a required argument",
    "a class of a function, its instance and its exception",
    "a class registered with an abstract class",
    "a module that is something else, and refuses to be sent",
    "a namedtuple with another name than its global",
    "a sentinel as an argument",
    "a sentinel that is pickled by its name",
    "a subclass of OSError with an __init__",
    "a type alias",
    "an Enum that is not found by its name",
    "an exception that leaves a part of it out of its pickle",
    "an exception with slots",
    "annotations of a function",
    "annotations that nobody evaluates",
    "generic classes",
    "variables for types",
    *(["a partial method"] if sys.version_info >= (3, 14) else []),
}


def table(scripts):
    """Parametrise a test with the names of scripts, and how many there are."""
    limit, params = pytest.mark.xfail(reason="a known limit", strict=True), []
    for i, (name, source) in enumerate(scripts.items(), 1):
        marks, id_ = [limit] if name in LIMITS else [], f"{i} of {len(scripts)}: {name}"
        params.append(pytest.param(dedent(source), id=id_, marks=marks))
    return pytest.mark.parametrize("source", params)


def program(source):
    """A script with what all of them need, which comes second if it must."""
    head, future, body = source.rpartition("from __future__ import annotations\n")
    return head + future + PRELUDE + body


def expected(source):
    comments = re.findall("# (.*)", source)
    assert comments, "the script has no comment that says what it shall print"
    return comments


BESIDE = """
import functools
def double(x): return 2 * x
class Thing: kind = "thing"
def counted(fun):
    @functools.wraps(fun)
    def wrapper(*args):
        wrapper.calls += 1
        return fun(*args)
    wrapper.calls = 0
    return wrapper
"""


@pytest.fixture
def elsewhere(tmp_path, script):
    """A directory to run scripts in, which are in another one beside a module."""
    script.write(BESIDE, name="scripts/beside.py")
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    return directory


@pytest.fixture
def printed(script, elsewhere):
    """Run a script elsewhere, and return the lines that it printed."""

    def run(source):
        name = "scripts/script.py"
        return script.run(program(source), name=name, cwd=elsewhere).splitlines()

    return run


@table(SCRIPTS)
def test_script_needs_no_session(source, printed):
    assert printed(source) == expected(source)


def test_no_script_hides_another_one_of_its_name():
    assert len(SCRIPTS) == sum(map(len, GROUPS))
    assert len(SCRIPTS) > 90
    assert set(SCRIPTS | NEWER | NEWEST) >= LIMITS


@table(SESSIONS)
def test_script_with_its_session(source, printed):
    assert printed(source) == expected(source)


# What cannot be sent ------------------------------------------------------------------


@table(OUT_OF_REACH)
def test_script_is_told_what_did_not_come_along_and_why(source, printed):
    [why] = expected(source)
    source += dedent("""
        def use(): return thing
        error = error_of(use)
        print(error, *error.__notes__, sep="\\n")
        """)
    assert [line for line in printed(source) if "thing" in line and why in line]


def test_script_may_have_what_only_other_functions_use(printed, elsewhere):
    """With all that is out of reach in one script, which none of it may harm."""
    source = ""
    for i, one in enumerate(OUT_OF_REACH.values()):
        one = dedent(one) + "\ndef use_thing(): return thing\n"
        source += one.replace("thing", f"thing{i}").replace("output", f"thing{i}")
    source += dedent("""
        def harmless(x): return helper(x)
        def helper(x): return 2 * x
        print(call(harmless, 21))
        """)
    assert printed(source) == ["42"]
    written = [path.read_text() for path in elsewhere.glob("*.txt")]
    assert written == ["text\n"] * 3


# Other ways to run a script -----------------------------------------------------------

DEFINITIONS = f"""{PRELUDE}
class Point:
    def __init__(self, x):
        self.x = x

def helper(x):
    return Point(x + offset)

def use(x):
    return helper(x)

offset = 40
"""
CALLS = """\
point = call(use, 2)
print(point.x, isinstance(point, Point))
"""
ORDINARY = DEFINITIONS + CALLS  # which prints "42 True"


@pytest.fixture
def python(elsewhere, monkeypatch):
    """Run Python elsewhere, and return what it printed."""
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("IPYTHONDIR", str(elsewhere / "ipython"))

    def run(*args, stdin="", cwd=elsewhere):
        done = subprocess.run(
            [sys.executable, *args],
            input=stdin,
            cwd=cwd,
            text=True,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("name", ["script", "my scripts/größe \n 'µ'.py"])
def test_script_whose_name_is_unusual(name, python, script):
    assert python(script.write(ORDINARY, name=name)) == "42 True\n"


def test_script_with_a_guard_and_a_main_function(python, script):
    source = f"{DEFINITIONS}\n\ndef main():\n{indent(CALLS, '    ')}\n\n"
    source += f"if __name__ == '__main__':\n    main()\n{indent(CALLS, '    ')}"
    assert python(script.write(source)) == "42 True\n42 True\n"


@pytest.mark.parametrize("args", [["-"], ["-i", "-q"]], ids=["piped", "at the prompt"])
def test_lines_that_are_typed(args, python):
    assert python(*args, stdin=ORDINARY) == "42 True\n"


def test_script_on_the_command_line(python):
    assert python("-c", ORDINARY) == "42 True\n"


def test_script_without_its_directory_on_the_path(python, script):
    assert python("-P", script.write(ORDINARY)) == "42 True\n"


def test_prompt_after_a_script(python, script):
    typed = "offset = 0\n\nprint(call(use, 2).x)\n"
    assert python("-i", script.write(ORDINARY), stdin=typed) == "42 True\n2\n"


@pytest.mark.parametrize("imports", ["of the module", "of a function only"])
def test_relative_imports_in_a_module_of_a_package(imports, python, script, tmp_path):
    script.write("", name="package/__init__.py")
    script.write("def double(x): return 2 * x", name="package/beside.py")
    source = """
        def use(x):
            from . import beside
            from .beside import double as twice
            return beside.double(x), twice(x)
        print(*call(use, 21))  # 42 42
        """
    if imports == "of the module":
        source = f"""
        from . import beside
        from .beside import double
        {source}
        def use_both(x): return double(x), beside.double(x)
        print(*call(use_both, 21), call(double, 1))  # 42 42 2
        """
    script.write(PRELUDE + dedent(source), name="package/script.py")
    printed = python("-m", "package.script", cwd=tmp_path)
    assert printed.splitlines() == expected(source)


def test_package_with_a_main_module(python, script, tmp_path):
    script.write("offset = 20", name="package/__init__.py")
    source = ORDINARY.replace("offset = 40", "from . import offset\noffset *= 2")
    script.write(source, name="package/__main__.py")
    assert python("-m", "package", cwd=tmp_path) == "42 True\n"


def test_directory_with_a_main_module(python, script, tmp_path):
    script.write("offset = 40", name="app/beside.py")
    source = ORDINARY.replace("offset = 40", "from beside import offset")
    script.write(source, name="app/__main__.py")
    assert python(tmp_path / "app") == "42 True\n"


def test_zip_file_with_a_main_module(python, script, tmp_path):
    script.write("def add(x): return x + 40", name="app/beside.py")
    source = ORDINARY.replace("x + offset", "beside.add(x)")
    source = source.replace("offset = 40", "import beside")
    script.write(source, name="app/__main__.py")
    zipapp.create_archive(tmp_path / "app")
    assert python(tmp_path / "app.pyz") == "42 True\n"


def test_script_that_runpy_runs(python, script):
    path = str(script.write(ORDINARY))
    command = f"import runpy; runpy.run_path({path!r}, run_name='__main__')"
    assert python("-c", command) == "42 True\n"


def test_script_in_the_debugger(python, script):
    path = script.write(ORDINARY)
    assert "42 True" in python("-m", "pdb", "-c", "continue", "-c", "quit", path)


def test_script_in_the_profiler(python, script):
    """Whose classes are not those of `__main__`, as this is the profiler."""
    path = script.write(ORDINARY)
    assert python("-m", "cProfile", path).startswith("42 ")


def test_a_task_does_not_load_dill_for_what_a_script_usually_defines(printed):
    source = """
        class Color(Enum):
            RED = 1
        class Point:
            def __init__(self, x): self.x = x
        @cache
        def double(x): return 2 * x
        def work(point): return Color(double(point.x) - 1), "dill" in sys.modules
        print(*call(work, Point(1)))
        """
    assert printed(dedent(source)) == ["Color.RED False"]


def test_tests_of_pytest(python, script, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    source = f"""{PRELUDE}
def helper(x):
    return x + 1

def test_helper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(helper, 1) == 2
    assert call(lambda x: helper(x), 1) == 2
"""
    path = script.write(source, name="scripts/test_own.py")
    assert "1 passed" in python("-m", "pytest", "-p", "no:cacheprovider", path)


def test_doctest_of_a_script(python, script):
    source = f"""{PRELUDE}
def double(x):
    '''Double it.

    >>> call(double, 21)
    42
    '''
    return 2 * x

import doctest
print(doctest.testmod())
"""
    assert python(script.write(source)) == "TestResults(failed=0, attempted=1)\n"


# Notebooks ----------------------------------------------------------------------------


def test_ipython_with_a_command(python):
    printed = python("-m", "IPython", "--simple-prompt", "-c", ORDINARY)
    assert printed == "42 True\n"


def test_ipython_with_a_script(python, script):
    path = script.write("%precision 3\n" + ORDINARY, name="scripts/script.ipy")
    assert "42 True" in python("-m", "IPython", "--simple-prompt", path).splitlines()


def test_a_script_that_was_run_by_ipython(python, script):
    """It can be used after that, as IPython has copied its globals."""
    unused = "import sqlite3\nunused = sqlite3.connect(':memory:')\n"
    path = script.write(ORDINARY + unused)
    lines = "\n".join([f"%run {path}", *ORDINARY.splitlines()[-2:]])
    path = script.write(lines, name="scripts/notebook.ipy")
    printed = python("-m", "IPython", "--simple-prompt", path)
    assert printed.splitlines().count("42 True") == 2


def test_cells_of_a_notebook(python, script):
    """A function that is defined again in a later cell is used from then on."""
    cells = [
        PRELUDE,
        "import numpy as np\nimport enum",
        "class Kind(enum.Enum):\n    A = 1",
        "def helper(x):\n    return np.add(x, 1)",
        "def use(x):\n    return int(helper(x)), Kind.A",
        "result = call(use, 1); print(result == (2, Kind.A))",
        "def helper(x):\n    return np.add(x, 10)",
        "result = call(use, 1); print(result == (11, Kind.A))",
        "%time answer = run(defer(lambda: eval('use')(2)), save_session=True)",
        "print(answer.returnvalue == (12, Kind.A))",
    ]
    source = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True).raise_error()
"""
    printed = python(script.write(source)).splitlines()
    assert [line for line in printed if line in ("True", "False")] == ["True"] * 3
