"""Programs that try to leave, to end the tests or to pass without doing what they should."""

from __future__ import annotations

import textwrap
import time
from dataclasses import replace

import pytest

from tunegate.harness.sandbox.contract import Limits
from tunegate.harness.sandbox.execution_outcome import End, Outcome
from tunegate.harness.sandbox.jobs import TestJob as Job

pytestmark = pytest.mark.usefixtures("bubblewrap", "leaves_nothing")
LIMITS = Limits(cpu_s=10.0, memory_mb=200, processes=16, disk_mb=8)
SHORT = replace(LIMITS, cpu_s=1.0)
TEST = "assert double(4) == 8"


def outcome_of(code: str, *tests: str, limits: Limits = LIMITS, objects: bool = False) -> Outcome:
    job = Job(textwrap.dedent(code), tests or (TEST,), limits=limits, objects=objects)
    return job.outcome()


REACHED = """
def double(x):
    try:
        {}
    except Exception:
        return None
    return 8
"""
"""Passes only if the attempt succeeds."""
LEAVING = {
    "connect to an address": "import socket; socket.create_connection(('1.1.1.1', 53), 1)",
    "look up a name": "import socket; socket.getaddrinfo('example.org', 80)",
    "reach the host's loopback": """import os, socket
        n = int(open('/proc/net/tcp').read().count('0100007F'))
        assert n and 0""",
    "raise the loopback interface": """import subprocess
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)""",
    "send a raw packet": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "find unix sockets of the host": """import glob
        assert glob.glob('/run/*') + glob.glob('/var/run/*') + glob.glob('/tmp/*')""",
    "read the home": "import glob; assert glob.glob('/root/.[bcps][aors]*[efhm]*')",
    "read another home": "import os; assert os.listdir('/home')",
    "read passwords": "open('/etc/passwd').read()",
    "read the environment of tunegate": "import os; assert len(os.environ) > 8",
    "read the environment of the sandbox": "assert b'=' in open('/proc/1/environ','rb').read()",
    "write to the system": "open('/usr/left', 'w').write('x')",
    "write to the root": "open('/left', 'w').write('x')",
    "write beside the answer": "open('/program/left', 'w').write('x')",
    "change the answer's file": "open('/program/answer.py', 'a').write('x')",
    "change what runs it": "open('/program/inside/tests.py', 'a').write('x')",
    "write to /dev": "open('/dev/left', 'w').write('x')",
    "read the tests": "open('/program/tests.json').read()",
    "find the tests of others": """import os
        found = [n for _, _, names in os.walk('/tmp') for n in names]
        found += [n for _, _, names in os.walk('/program') for n in names if n == 'tests.json']
        assert found""",
    "see other processes": """import os
        assert len([n for n in os.listdir('/proc') if n.isdigit()]) > 3""",
    "end the parent": """import os, time
        os.kill(os.getppid(), 9); time.sleep(.2); assert os.getppid() != 1""",
    "raise its limits": """import resource
        resource.setrlimit(resource.RLIMIT_CPU, (900, 900))""",
    "take another user": "import os; os.setuid(0)",
    "mount a file system": """import subprocess
        subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], check=True)""",
    "make namespaces": """import ctypes
        assert ctypes.CDLL(None).unshare(0x10000000 | 0x20000) == 0""",
    "change the host's name": "import socket; socket.sethostname('left')",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "change a kernel setting": "open('/proc/sys/kernel/core_pattern', 'w').write('x')",
    "read the kernel's log": "open('/dev/kmsg').read(1)",
    "read memory of the machine": "open('/proc/kcore', 'rb').read(1)",
    "trace the process above": """import ctypes, os
        assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0""",
    "write memory of the process above": "open('/proc/1/mem', 'r+b').read(1)",
    "make a device": "import os, stat; os.mknod('/tmp/d', 0o600 | stat.S_IFBLK, os.makedev(8, 0))",
    "gain rights by a program": "assert 'NoNewPrivs:\\t0' in open('/proc/self/status').read()",
}


@pytest.mark.parametrize("attempt", LEAVING.values(), ids=LEAVING)
def test_a_program_does_not_leave(attempt: str) -> None:
    found = outcome_of(REACHED.format(attempt))

    assert found.end is End.FAILED, found


EXHAUSTING = {
    "fork bomb": ("import os\nwhile True: os.fork()", {End.PROCESSES, End.FAILED, End.TIME}),
    "fork bomb that ignores errors": (
        """
        import os
        while True:
            try: os.fork()
            except OSError: pass
        """,
        {End.PROCESSES, End.TIME},
    ),
    "many threads": (
        """
        import threading, time
        while True: threading.Thread(target=time.sleep, args=(60,)).start()
        """,
        {End.PROCESSES, End.FAILED},
    ),
    "memory": ("x = [0]\nwhile True: x += x", {End.MEMORY}),
    "memory in one step": ("x = bytearray(10**12)", {End.MEMORY}),
    "shared memory": (
        """
        import mmap
        m = mmap.mmap(-1, 2**32)
        for i in range(0, 2**32, 4096): m[i] = 1
        """,
        {End.MEMORY},
    ),
    "memory by many processes": (
        """
        import os, time
        for _ in range(6): os.fork()
        x = bytearray(90 * 2**20); time.sleep(60)
        """,
        {End.MEMORY, End.PROCESSES, End.FAILED},
    ),
    "files without a name": (
        """
        import os
        held = []
        while True:
            held.append(os.memfd_create('x'))
            for _ in range(8): os.write(held[-1], bytes(2**20))
        """,
        {End.FAILED},
    ),
    "system V memory": (
        """
        import ctypes
        assert ctypes.CDLL(None).shmget(0, 2**20, 0o1600) < 0
        """,
        {End.FAILED},
    ),
    "disk in /tmp": (
        """
        for n in range(100): open(f'/tmp/{n}', 'wb').write(bytes(2**20))
        """,
        {End.FAILED},
    ),
    "disk in /dev/shm": (
        """
        for n in range(100): open(f'/dev/shm/{n}', 'wb').write(bytes(2**20))
        """,
        {End.FAILED},
    ),
    "endless loop": ("while True: pass", {End.TIME}),
    "endless loop in the call": ("def double(x):\n    while True: pass", {End.TIME}),
    "endless output": ("while True: print('passed')", {End.TIME}),
    "endless output in the call": (
        "def double(x):\n    while True: print('passed')",
        {End.TIME, End.MEMORY},
    ),
    "endless output to the tests": (
        """
        import os
        while True:
            for fd in range(3, 10):
                try: os.write(fd, b'x' * 65536)
                except OSError: pass
        """,
        {End.OUTPUT},
    ),
    "endless recursion": ("def double(x): return double(x)", {End.FAILED}),
    "deep recursion": (
        """
        import sys
        sys.setrecursionlimit(10**9)
        def double(x): return double(x)
        """,
        {End.FAILED, End.MEMORY, End.TIME},
    ),
    "huge number": ("def double(x): return 9 ** 9 ** 9", {End.TIME, End.MEMORY}),
    "long number": ("def double(x): return 10 ** 100_000", {End.FAILED}),
    "deep list": (
        """
        def double(x):
            for _ in range(100_000): x = [x]
            return x
        """,
        {End.FAILED},
    ),
    "ends at once": ("import sys; sys.exit(0)", {End.FAILED}),
    "ends without cleaning up": ("import os; os._exit(0)", {End.FAILED}),
    "aborts": ("import os; os.abort()", {End.FAILED}),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", {End.FAILED, End.TIME}),
    "reads wrong memory": ("import ctypes; ctypes.string_at(0)", {End.FAILED}),
    "ends in the call": ("import sys\ndef double(x): sys.exit(0)", {End.FAILED}),
    "ends in the call without cleaning up": ("import os\ndef double(x): os._exit(0)", {End.FAILED}),
    "ends with the tests' exit code": ("import os\ndef double(x): os._exit(3)", {End.FAILED}),
    "ends at exit": ("import atexit, os; atexit.register(os._exit, 0)", {End.FAILED}),
}


@pytest.mark.parametrize(("code", "ends"), EXHAUSTING.values(), ids=EXHAUSTING)
def test_a_program_that_takes_too_much_or_ends_fails(code: str, ends: set[End]) -> None:
    start = time.monotonic()

    limits = SHORT if End.TIME in ends else LIMITS
    found = outcome_of(code, limits=limits)

    assert found.end in ends, found
    assert time.monotonic() - start < limits.wall_s + 10


PEER = """
import gc, json, os
def fds(line):
    for fd in range(3, 12):
        try: os.write(fd, line)
        except OSError: pass
"""
CHEATING = {
    "prints passed": "print('passed'); print('=' + '{\"passed\": 1}')",
    "writes a result": PEER + """fds(b'={"passed": 1}\\n' * 3)""",
    "writes a result in the call": PEER
    + """
def double(x): fds(b'={"passed": 1}\\n'); return None
""",
    "writes nonsense": PEER + "fds(b'nonsense\\n' * 3)",
    "writes an empty list": PEER + "fds(b'[]\\n' * 3)",
    "writes an unknown object": PEER
    + """
def double(x): fds(b'["return", {"yours": 12345}, [], ""]\\n')
""",
    "names a function of Python": PEER
    + """
def double(x): fds(b'["return", {"class": "exec"}, [], ""]\\n')
""",
    "asks for the module of the tests": PEER
    + """
def double(x): fds(b'["return", {"module": "tests"}, [], ""]\\n')
""",
    "writes an end of standard error": PEER
    + """
import sys
fds(b'bwrap: the sandbox failed\\n'); print('bwrap: it failed', file=sys.stderr); os._exit(1)
""",
    "is silent": "import os; os.closerange(3, 12)",
    "patches json": PEER + "json.dumps = lambda message: '=' + '{\"passed\": 1}'",
    "patches its own side": PEER
    + """
for one in gc.get_objects():
    if type(one).__name__ == 'Peer':
        one.send = lambda message: one.send_result({'passed': 1})
""",
    "patches builtins": """
import builtins
builtins.AssertionError = type('AssertionError', (Exception,), {})
builtins.isinstance = builtins.all = lambda *a: True
def double(x): assert x == 'never'
""",
    "defines what tests use": "__equal__ = check = lambda *a: True\ndef double(x): pass",
    "replaces its own name": "def double(x): raise SystemExit(0)",
    "raises the end of a loop": "def double(x): raise StopIteration",
    "raises what the connection raises": """
def double(x):
    import inside.peer
    raise inside.peer.Ended
""",
    "raises skip": "import unittest\ndef double(x): raise unittest.SkipTest",
    "names a module that is not here": """
import types
def double(x): return types.ModuleType("winreg")
""",
    "raises a class that the tests would raise": PEER
    + """
def double(x): fds(b'["raise", {"class": "ImportError"}, [], ""]\\n')
""",
    "equals everything": """
class X:
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = lambda *a: True
    __hash__ = lambda self: 8
double = lambda x: X()
""",
    "equals everything as a number": """
class X(int):
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = lambda *a: True
    __sub__ = __rsub__ = lambda *a: 0
double = lambda x: X(3)
""",
    "equals everything as a mock": "from unittest import mock\ndouble = lambda x: mock.ANY",
    "equals everything as a class": "from unittest import mock\ndouble = lambda x: type(mock.ANY)",
    "traces": """
import sys
sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
def double(x):
    frame = sys._getframe()
    while frame:
        frame.f_globals['AssertionError'] = Exception; frame = frame.f_back
""",
    "hooks imports": """
import sys
class Finder:
    def find_spec(self, *a): raise ImportError('no')
sys.meta_path[:] = [Finder()]
def double(x): return None
""",
}


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("code", CHEATING.values(), ids=CHEATING)
def test_a_program_that_cheats_fails(code: str, objects: bool) -> None:
    found = outcome_of(code, objects=objects)

    assert found.end is End.FAILED, found


CLOSE = """
class X:
    def __init__(self, seen=None): self.seen = seen
    __sub__ = __rsub__ = __add__ = __truediv__ = lambda self, other: X(other)
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = lambda *a: True
    __abs__ = __float__ = lambda self: 0.0 if self.seen is None else float(self.seen)
    __round__ = lambda self, *a: 0
    __xor__ = __rxor__ = lambda *a: set()
    __bool__ = lambda self: False
    __getattr__ = lambda self, name: lambda *a, **k: self
def double(x): return X()
"""
CLOSENESS = (
    "assert abs(double(4) - 8) < 1e-6",
    "assert abs(8 - double(4)) < 1e-6",
    "assert double(4) <= 8 <= double(4)",
    "assert not (double(4) - {8})",
    "assert not (double(4) ^ {8})",
    "assert -1e-6 < double(4) - 8.0 < 1e-6",
    "import math; assert math.isclose(double(4), 8)",
    "assert double(4) in (8, 9)",
    "assert not double(4) != 8",
    "import unittest; unittest.TestCase().assertAlmostEqual(double(4), 8.0)",
    "d = double(4); d -= 8; assert abs(d) < 1e-6",
)


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("test", CLOSENESS)
def test_an_object_is_not_close_to_a_number_whatever_it_says(test: str, objects: bool) -> None:
    found = outcome_of(CLOSE, test, objects=objects)

    assert found.end is End.FAILED, found


def test_what_an_error_says_can_be_stored() -> None:
    found = outcome_of("def double(x): raise ValueError('\\ud800')")

    assert (found.end, found.reason) == (End.FAILED, "ValueError: \ufffd")
    assert Outcome.model_validate_json(found.model_dump_json()) == found


LYING = """
class Yes:
    __eq__ = __ne__ = __lt__ = __gt__ = __contains__ = __bool__ = lambda *a: True
    __len__ = lambda self: 8
    __hash__ = lambda self: 8
    __sub__ = __rsub__ = __add__ = __radd__ = __mod__ = __abs__ = lambda *a: 0
    __iter__ = lambda self: iter([8])
    __getitem__ = lambda *a: 8
    __str__ = __repr__ = lambda self: "8"
    __getattr__ = lambda self, name: lambda *a, **k: 8
"""
DERIVED = "class Lie({}, Yes):\n    __hash__ = Yes.__hash__\n    " + "\n    ".join(
    f"{name} = Yes.{name}"
    for name in ("__eq__", "__ne__", "__lt__", "__contains__", "__sub__", "__len__", "__iter__")
)
VALUES = {
    "an equal object": ("double = lambda x: Yes()", TEST),
    "an object that holds everything": ("double = lambda x: Yes()", "assert 8 in double(4)"),
    "an object with every attribute": (
        "double = lambda x: Yes()",
        "assert double(4).bit_length() == 8",
    ),
    "an object with a length": ("double = lambda x: Yes()", "assert len(double(4)) == 8"),
    "an object with items": ("double = lambda x: Yes()", "assert double(4)[0] == 8"),
    "an object that can be iterated": ("double = lambda x: Yes()", "assert list(double(4)) == [8]"),
    "an object with arithmetic": ("double = lambda x: Yes()", "assert double(4) - 8 == 0"),
    "an object with a remainder": ("double = lambda x: Yes()", "assert double(4) % 8 == 0"),
    "an object as text": ("double = lambda x: Yes()", "assert str(double(4)) == '8'"),
    "an object in a format": ("double = lambda x: Yes()", "assert f'{double(4)}' == '8'"),
    "an object in a list": ("double = lambda x: [Yes()]", "assert double(4) == [8]"),
    "an object as a key": ("double = lambda x: {Yes(): 1}", "assert double(4) == {8: 1}"),
    "an object that a test catches": (
        "double = lambda x: Yes()",
        "try: double(4)\nexcept BaseException: pass",
    ),
    "a text": (DERIVED.format("str") + "\ndouble = lambda x: Lie('7')", "assert double(4) == '8'"),
    "a text with everything": (
        DERIVED.format("str") + "\ndouble = lambda x: Lie('7')",
        "assert '8' in double(4)",
    ),
    "a list with everything": (
        DERIVED.format("list") + "\ndouble = lambda x: Lie()",
        "assert 8 in double(4)",
    ),
    "a number with arithmetic": (
        DERIVED.format("int") + "\ndouble = lambda x: Lie(7)",
        "assert double(4) - 8 == 0",
    ),
    "a number in a list": (
        DERIVED.format("float") + "\ndouble = lambda x: [Lie(7)]",
        "assert double(4) == [8]",
    ),
    "a dictionary with everything": (
        "class Lie(dict):\n    __getitem__ = get = lambda *a: 8\ndouble = lambda x: Lie()",
        "assert double(4).get('a') == double(4)['a'] == 8",
    ),
    "an exception with methods": (
        """
        class Lie(Exception):
            bit_length = lambda self: 8
            __str__ = lambda self: '8'
        double = lambda x: Lie()""",
        "assert double(4).bit_length() == 8 or str(double(4)) == '8'",
    ),
    "an object that can be called": (
        "class Lie(Yes):\n    __call__ = lambda *a: 8\ndouble = lambda x: Lie()",
        "assert double(4) == 8 or 8 in double(4)",
    ),
    "a function with attributes": (
        "double = lambda x: double\ndouble.value = 8",
        "assert double(4).value == 8",
    ),
    "an iterator with methods": (
        """
        class Lie(Yes):
            __next__ = lambda self: 7
        double = lambda x: Lie()""",
        "assert double(4) == 8 or len(double(4)) == 8",
    ),
    "a class with a metaclass": (
        "class Meta(type):\n    __eq__ = Yes.__eq__\nclass Lie(metaclass=Meta): pass\ndouble = Lie",
        TEST,
    ),
    "a date": (
        """
        import datetime
        class Lie(datetime.date): __eq__ = Yes.__eq__
        double = lambda x: Lie(2020, 1, 1)""",
        "import datetime\nassert double(4) == datetime.date(2021, 1, 1)",
    ),
    "an object that it writes itself": (
        PEER + """def double(x): fds(b'["return", {"mine": [5, null, "X"]}, [], ""]\\n')""",
        "assert double(4).bit_length() == 8",
    ),
    "an object without an end": (
        PEER
        + """
def double(x):
    while True: fds(b'["return", {"mine": [5, "int", "X"]}, [], ""]\\n')
""",
        TEST,
    ),
    "the end of a loop": (
        "def double(x): raise StopIteration",
        "assert all(map(lambda x: double(x) == 2 * x, [4, 5]))",
    ),
    "the end of a loop in an iterator": (
        """
        class Lie:
            __iter__ = lambda self: self
            def __next__(self): raise StopIteration
        double = lambda x: Lie()""",
        "assert next(double(4)) == 8",
    ),
    "the end of a loop in a generator": (
        "def double(x):\n    yield next(iter(()))",
        "for got in double(4): assert got == 8",
    ),
    "an AssertionError of its own": (
        """
        class AssertionError(Exception): pass
        def double(x): raise AssertionError""",
        TEST,
    ),
    "an error in place of an assertion": (
        "def double(x): raise ValueError",
        "import unittest\nwith unittest.TestCase().assertRaises(TypeError): double('a')",
    ),
}


@pytest.mark.parametrize(("code", "test"), VALUES.values(), ids=VALUES)
def test_what_an_answer_returns_reaches_a_test_as_a_plain_value(code: str, test: str) -> None:
    found = outcome_of(LYING + textwrap.dedent(code), test)

    assert found.end is End.FAILED, found


@pytest.mark.parametrize(
    "test",
    [
        "try: double(4)\nexcept StopIteration: pass",
        "assert all(map(lambda x: double(x) == 2 * x, [4, 5]))",
        "assert list(filter(lambda x: double(x) != 2 * x, [4, 5])) == []",
        "assert [x for x in map(double, [4]) if x != 8] == []",
        "for got in iter(lambda: double(4), 8): assert False",
        "double.attribute",
        "double[0]",
        "double in double",
    ],
)
def test_the_end_of_a_loop_is_an_error_of_the_answer_with_objects_too(test: str) -> None:
    code = """
class Ending:
    def __call__(self, *a): raise StopIteration
    __getattr__ = __getitem__ = __contains__ = __call__
double = Ending()
"""
    found = outcome_of(code, test, objects=True)

    assert (found.end, found.reason) == (
        End.FAILED,
        "RuntimeError: the answer raised StopIteration",
    )


SHADOWING = {
    "check": "check = lambda *a: True\ndouble = len",
    "assertEqual": "assertEqual = lambda *a: True\ndouble = len",
    "approx": "approx = lambda x: 7\ndouble = lambda x: 7",
    "len": "len = lambda x: 1\ndouble = lambda x: []",
    "candidate": "candidate = lambda x: 8\ndouble = None",
}
HELPED = {
    "check": "check(double(4), 8)",
    "assertEqual": "assertEqual(double(4), 8)",
    "approx": "assert double(4) == approx(8)",
    "len": "assert len(double(4)) == 1",
    "candidate": "assert candidate(4) == 8",
}


@pytest.mark.parametrize("helper", SHADOWING)
def test_an_answer_brings_no_name_that_the_task_does_not_ask_for(helper: str) -> None:
    job = Job(SHADOWING[helper], (HELPED[helper],), limits=LIMITS, names=("double",))

    assert job.outcome().end is End.FAILED


REACHING = {
    "frames of a generator": ("lambda f, g: g.gi_frame.f_globals", "f((n for n in [1]))"),
    "globals of a function": ("lambda f, g: g.__globals__", "f(lambda: 1)"),
    "code of a function": ("lambda f, g: g.__code__", "f(lambda: 1)"),
    "closure of a function": ("lambda f, g: g.__closure__", "f(lambda: 1)"),
    "dictionary of an object": ("lambda f, g: g.__dict__", "f(A())"),
    "owner of a method": ("lambda f, g: g.__self__", "f(A().see)"),
    "traceback of an error": ("lambda f, g: caught(g).__traceback__.tb_frame", "f(fail)"),
}


@pytest.mark.parametrize(("reach", "call"), REACHING.values(), ids=REACHING)
def test_an_answer_reads_nothing_of_the_tests_through_what_it_is_given(
    reach: str, call: str
) -> None:
    code = f"""
def caught(g):
    try: g()
    except Exception as error: return error.origin
reach = {reach}
def f(g):
    try: got = reach(f, g)
    except AttributeError: return 'refused'
    return got
"""
    test = f"""
class A:
    secret = 5
    def see(self): return 1
def fail(): raise ValueError(1)
assert {call} == 'refused'
"""
    assert outcome_of(code, test).end is End.PASSED


def test_a_context_manager_does_not_hide_a_failed_assertion() -> None:
    code = """
class Held:
    __enter__ = lambda self: self
    __exit__ = lambda self, *a: True
def double(x): raise KeyError
"""
    wrong = "with Held():\n    assert 4 == 8"
    raised = "with Held():\n    assert double(4) == 8"

    assert outcome_of(code, wrong).end is End.FAILED
    assert outcome_of(code, raised).end is End.FAILED


def test_an_answer_that_does_not_read_what_it_is_sent_runs_out_of_time() -> None:
    code = """
import os, signal, threading
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGSTOP)).start()
def double(x): return 8
"""
    test = "import time; time.sleep(1); assert double('x' * 1_000_000) == 8"

    assert outcome_of(code, test, limits=Limits(cpu_s=0.1)).end is End.TIME


SURVIVING = {
    "a session of its own": "os.setsid()",
    "deaf to signals": "[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 3, 13, 15)]",
    "a double fork": "os.setsid(); os.fork() and os._exit(0)",
    "threads": "[threading.Thread(target=time.sleep, args=(99,)).start() for _ in range(3)]",
}


@pytest.mark.parametrize("step", SURVIVING.values(), ids=SURVIVING)
def test_nothing_that_an_answer_starts_outlives_it(step: str) -> None:
    code = f"""
import os, signal, threading, time
if os.fork() == 0:
    {step}
    time.sleep(99)
def double(x): return 2 * x
"""
    start = time.monotonic()

    assert outcome_of(code).end is End.PASSED  # the fixture looks for what is left
    assert time.monotonic() - start < 20


PROGRAMS = {
    "ends with the sandbox's message": "import sys; sys.exit('bwrap: it failed')",
    "writes the beginning again": """import sys
        sys.exit('tunegate: the program begins\\nbwrap: it failed')""",
    "reads the wanted output": "import glob; print(open(glob.glob('/program/*put')[0]).read())",
    "writes without end": "while True: print('8')",
    "waits for input": "import time; time.sleep(60); print(8)",
    "leaves a child with the output": """import os, time
        if os.fork(): print(9)
        else: os.setsid(); time.sleep(60)""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_with_wrong_output_fails(program: str) -> None:
    limits = Limits(cpu_s=0.3, output_bytes=10_000)
    program = textwrap.dedent(" " * 8 + program)
    job = Job(program, ({"input": "4", "output": "8"},), limits=limits)

    assert job.outcome().end in (End.FAILED, End.OUTPUT, End.TIME)
