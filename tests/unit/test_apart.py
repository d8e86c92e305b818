"""Work in a process of its own. Each case runs in a fresh interpreter: a process with other threads is not forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_BEGINNING = """
import os, signal, sys, threading, time
from comptoir.app.system import ThreadTasks
from comptoir.errors import MappingError
os.sched_setaffinity(0, {cores})
here, begun = os.getpid(), []
def say(*words): print(*words, flush=True)
def apart(work): return ThreadTasks().apart(work, begin=lambda: begun.append(os.getpid()))
"""
_ALL, _ONE = "os.sched_getaffinity(0)", "{min(os.sched_getaffinity(0))}"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)


def _start(tmp_path: Path, program: str, cores: str = _ALL) -> subprocess.Popen[str]:
    script = tmp_path / "program.py"
    script.write_text(_BEGINNING.replace("{cores}", cores) + program)
    return subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _run(tmp_path: Path, program: str, cores: str = _ALL) -> tuple[list[str], str]:
    process = _start(tmp_path, program, cores)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines(), errors


_SQUARES = """
def work(n): return n * n, os.getpid(), list(begun)
with apart(work) as hand_over:
    waiting = [hand_over(n) for n in range(50)]
    found = [result() for result in waiting]
assert [square for square, _, _ in found] == [n * n for n in range(50)]
pids = {pid for _, pid, _ in found}
say(len(pids), here in pids, all(b == [pid] for _, pid, b in found), begun)
"""


def test_items_are_worked_on_in_one_other_process_that_began_once(tmp_path: Path) -> None:
    assert _run(tmp_path, _SQUARES)[0] == ["1 False True []"]


def test_with_one_core_no_process_is_made(tmp_path: Path) -> None:
    assert _run(tmp_path, _SQUARES, _ONE)[0] == ["1 True False []"]


def test_with_other_threads_no_process_is_made(tmp_path: Path) -> None:
    """A fork would copy the locks that they hold, and nobody who lets go of them."""
    thread = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    assert _run(tmp_path, thread + _SQUARES)[0] == ["1 True False []"]


def test_what_the_work_raises_is_raised_to_who_waits_for_it_with_all_that_it_says(tmp_path: Path) -> None:
    lines, _ = _run(
        tmp_path,
        """
def work(n):
    if n == 1: raise MappingError("no amount", field="lines.0.net", hint="Enter it.", connection="boutique")
    return n
with apart(work) as hand_over:
    waiting = [hand_over(n) for n in range(3)]
    say(waiting[0](), waiting[2]())
    try: waiting[1]()
    except MappingError as error: say(error.message, error.field, error.hint, error.connection, error.code)
""",
    )
    assert lines == ["0 2", "no amount lines.0.net Enter it. boutique mapping"]


def test_what_a_killed_process_has_not_done_is_done_here_and_said(tmp_path: Path) -> None:
    lines, errors = _run(
        tmp_path,
        """
def work(n):
    if n == 3 and os.getpid() != here: os.kill(os.getpid(), signal.SIGKILL)
    return n, os.getpid() == here
with apart(work) as hand_over:
    waiting = [hand_over(n) for n in range(8)]
    found = [result() for result in waiting]
    found.append(hand_over(8)())
say([n for n, _ in found] == list(range(9)), found[0][1], all(by_us for _, by_us in found[3:]))
""",
    )
    assert lines == ["True False True"]
    assert "the process that helped this one is gone: its work is done here" in errors


def test_an_error_in_the_block_leaves_no_process_behind(tmp_path: Path) -> None:
    lines, _ = _run(
        tmp_path,
        """
def work(n): return os.getpid()
try:
    with apart(work) as hand_over:
        say(hand_over(0)())
        raise KeyboardInterrupt
except KeyboardInterrupt:
    say("stopped")
""",
    )
    assert lines[1:] == ["stopped"]
    assert not Path(f"/proc/{lines[0]}").exists()


@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_with_the_process_that_it_helps_however_that_ends(tmp_path: Path, busy: bool) -> None:
    process = _start(
        tmp_path,
        f"""
def work(n):
    if n: time.sleep(600)
    return os.getpid()
with apart(work) as hand_over:
    say(hand_over(0)())
    hand_over({int(busy)})
    time.sleep(600)
""",
    )
    assert process.stdout is not None
    helper = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    ends = time.monotonic() + 10
    while Path(f"/proc/{helper}").exists():
        assert time.monotonic() < ends, "it is still there"
        time.sleep(0.02)
    process.communicate(timeout=10)


def test_ctrl_c_is_the_parents_affair(tmp_path: Path) -> None:
    """The terminal sends it to both."""
    lines, errors = _run(
        tmp_path,
        """
def work(n): return os.getpid()
with apart(work) as hand_over:
    helper = hand_over(0)()
    os.kill(helper, signal.SIGINT)
    say(helper == hand_over(1)() != here)
""",
    )
    assert lines == ["True"]
    assert errors == ""
