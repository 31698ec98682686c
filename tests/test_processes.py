"""Calls in other processes: answered, or an exception here, whatever happens there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artistid.errors import ArtistidError
from artistid.processes import UNLIMITED, Allowance, OverdueError, Worker, WorkerDiedError, Workers

CHECKOUT = Path(__file__).parents[1]


class TwoArgumentsError(Exception):
    """Such as cannot be unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def add(*numbers: int) -> int:
    return sum(numbers)


def kill_itself(with_signal: int) -> None:
    os.kill(os.getpid(), with_signal)


def kill_itself_once(trace: Path) -> str:
    if not trace.exists():
        trace.touch()
        kill_itself(signal.SIGKILL)
    return "done"


def chatter() -> str:
    print("among the answers?")
    os.write(1, b"and this?")
    return "answer"


def raise_one(error: Exception) -> None:
    raise error


def raise_what_cannot_be_sent() -> None:
    raise TwoArgumentsError("one", "two")


def remember(value: str) -> None:
    os.environ["REMEMBERED"] = value


def recall() -> str | None:
    return os.environ.get("REMEMBERED")


def session() -> int:
    return os.getsid(0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def test_calls_are_answered_by_one_other_process(worker: Worker) -> None:
    assert worker.call(UNLIMITED, add, 1, 2, 3) == 6
    process = worker.call(UNLIMITED, os.getpid)
    assert process != os.getpid()
    assert worker.call(UNLIMITED, os.getpid) == process
    assert len(worker.call(UNLIMITED, bytes, 10_000_000)) == 10_000_000


def test_what_is_printed_there_is_no_answer(worker: Worker) -> None:
    assert worker.call(UNLIMITED, chatter) == "answer"
    assert worker.call(UNLIMITED, add, 1) == 1


def test_exceptions_come_back(worker: Worker) -> None:
    with pytest.raises(ArtistidError, match="bad input") as told:
        worker.call(UNLIMITED, raise_one, ArtistidError("bad input"))
    assert not hasattr(told.value, "__notes__")
    with pytest.raises(KeyError) as bug:
        worker.call(UNLIMITED, raise_one, KeyError("a bug"))
    assert "in raise_one" in bug.value.__notes__[0]  # where it happened
    with pytest.raises(RuntimeError, match="TwoArgumentsError: one and two"):
        worker.call(UNLIMITED, raise_what_cannot_be_sent)
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        worker.call(UNLIMITED, sys.exit, 3)
    assert worker.call(UNLIMITED, add, 1) == 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ((kill_itself, signal.SIGSEGV), "^was killed by SIGSEGV$"),
        ((kill_itself, signal.SIGABRT), "^was killed by SIGABRT$"),
        ((os._exit, 7), "^ended with exit code 7$"),
    ],
)
def test_a_death_is_an_exception(worker: Worker, call: tuple[object, int], told: str) -> None:
    with pytest.raises(WorkerDiedError, match=told):
        worker.call(UNLIMITED, *call)  # type: ignore[arg-type]
    assert worker.call(UNLIMITED, add, 1, 1) == 2


def test_what_was_no_fault_of_the_call_is_done_again(worker: Worker, tmp_path: Path) -> None:
    assert worker.call(UNLIMITED, kill_itself_once, tmp_path / "trace") == "done"


def test_a_call_that_takes_too_long_is_not_waited_for(worker: Worker) -> None:
    with pytest.raises(OverdueError, match=r"^took more than 0\.5 s$"):
        worker.call(Allowance(seconds=0.5), time.sleep, 1000)
    assert worker.call(Allowance(seconds=100), add, 1, 1) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited under Linux alone")
def test_a_call_has_the_memory_that_it_is_allowed(worker: Worker) -> None:
    with pytest.raises(MemoryError):
        worker.call(Allowance(memory=2**27), bytearray, 2**28)
    assert len(worker.call(Allowance(memory=2**29), bytearray, 2**28)) == 2**28
    assert len(worker.call(UNLIMITED, bytearray, 2**28)) == 2**28  # the limit was that call's


def test_every_child_begins_with_the_first_call(tmp_path: Path) -> None:
    worker = Worker(first=(remember, ("a name",)))
    assert worker.call(UNLIMITED, recall) == "a name"
    with pytest.raises(WorkerDiedError):
        worker.call(UNLIMITED, os._exit, 1)
    assert worker.call(UNLIMITED, recall) == "a name"
    worker.close()
    assert "REMEMBERED" not in os.environ


def test_its_environment_is_its_own() -> None:
    worker = Worker({"REMEMBERED": "told"})
    assert worker.call(UNLIMITED, recall) == "told"
    worker.close()


def test_ctrl_c_does_not_reach_it(worker: Worker) -> None:
    assert worker.call(UNLIMITED, session) != os.getsid(0)


@pytest.fixture
def foreground() -> Iterator[None]:
    """SIGINT is answered as in a shell's foreground; what a shell begins in its background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_an_interrupted_call_does_not_answer_the_next(worker: Worker) -> None:
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        worker.call(UNLIMITED, time.sleep, 5)
    assert worker.call(UNLIMITED, add, 1, 1) == 2


def test_threads_take_turns(worker: Worker) -> None:
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        answers[number] = worker.call(UNLIMITED, add, number, 1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number + 1 for number in range(20)}


class TestPool:
    def test_answers_come_in_the_order_of_the_questions(self) -> None:
        with Workers(2) as pool:
            assert [future.result() for future in pool.map(abs, [-5, 4, -3, 2], ahead=3)] == [5, 4, 3, 2]

    def test_one_death_costs_one_answer(self) -> None:
        with Workers(2) as pool:
            futures = [pool.submit(add, number) for number in range(4)]
            bad = pool.submit(kill_itself, signal.SIGSEGV)
            futures += [pool.submit(add, number) for number in range(4, 8)]
            assert [future.result() for future in futures] == list(range(8))
            with pytest.raises(WorkerDiedError):
                bad.result()

    def test_leaving_it_ends_what_is_being_done(self) -> None:
        with Workers(2) as pool:
            busy = [pool.submit(time.sleep, 1000) for _ in range(5)]
            while not busy[1].running():
                time.sleep(0.01)
        assert all(future.cancelled() or isinstance(future.exception(), WorkerDiedError) for future in busy)


ORPHANS = """
import sys, time
from artistid.processes import Workers, UNLIMITED
import os
pool = Workers(2)
ids = [pool.submit(os.getpid).result() for _ in range(2)]
sleeping = [pool.submit(time.sleep, {seconds}) for _ in range({busy})]
time.sleep(0.2)
print(*[worker._process.pid for worker in pool._workers], flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
@pytest.mark.parametrize("busy", [0, 2])
def test_children_end_with_a_parent_that_is_killed(tmp_path: Path, busy: int) -> None:
    """Idle or at work, and whatever kills it."""
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS.format(seconds=1000, busy=busy))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        children = [int(child) for child in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end, "they outlive it"
        time.sleep(0.05)
