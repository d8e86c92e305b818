"""The real ports: clock, ids, randomness, threads, HTTP. The only place where their originals are used."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import secrets
import signal
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from comptoir.errors import ConfigError, OutcomeUnknown, TransientError
from comptoir.model.ids import uuid7_from
from comptoir.sdk.ports import HttpRequest, HttpResponse

if TYPE_CHECKING:
    import requests

__all__ = ["SystemClock", "SystemIds", "SystemRandom", "SystemTransport", "ThreadTasks", "rare_collection"]

_log = logging.getLogger("comptoir.system")

T = TypeVar("T")
R = TypeVar("R")

#: How many random numbers of 64 bits are asked for at once.
_RANDOM_NUMBERS = 512


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Aware UTC now."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


class SystemIds:
    """UUIDv7 from the machine's clock; each greater than the one before in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._counter = 0
        self._random: list[int] = []
        # A forked child must not repeat its parent's; asking for the process's number each time costs more than an id.
        os.register_at_fork(after_in_child=self._random.clear)

    def new(self) -> UUID:
        """The next id."""
        with self._lock:
            if not self._random:
                self._random += struct.unpack(f"{_RANDOM_NUMBERS}Q", os.urandom(8 * _RANDOM_NUMBERS))
            random_bits = self._random.pop()
            now = time.time_ns() // 1_000_000
            if now > self._last:
                self._last, self._counter = now, random_bits >> 55
            else:
                self._counter += 1
                if self._counter > 0xFFF:
                    self._last, self._counter = self._last + 1, 0
            return uuid7_from(self._last, self._counter, random_bits)


class SystemRandom:
    """The machine's randomness, fit for nonces and keys."""

    def bits(self, count: int) -> int:
        """A number of that many random bits."""
        return secrets.randbits(count)

    def bytes(self, count: int) -> bytes:
        """That many random bytes."""
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return low + (high - low) * (secrets.randbits(53) / (1 << 53))


class ThreadTasks:
    """A bounded window of threads whose results come back in order."""

    def map_ordered(self, work: Callable[[T], R], items: Iterable[T], *, width: int) -> Iterator[R]:
        """Results in the order of `items`; at most `width` under way or waiting to be taken."""
        if width <= 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(max_workers=width, thread_name_prefix="comptoir") as pool:
            window: deque[Future[R]] = deque()
            try:
                for item in items:
                    window.append(pool.submit(work, item))
                    if len(window) >= width:
                        yield window.popleft().result()
                while window:
                    yield window.popleft().result()
            finally:
                for future in window:
                    future.cancel()

    def one_behind(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in order; `work` runs in one thread while the next item is made in the caller's."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="comptoir-behind") as pool:
            running: Future[R] | None = None
            with _quick_turns():
                for item in items:
                    if running is not None:
                        yield running.result()
                    running = pool.submit(work, item)
                if running is not None:
                    yield running.result()

    @contextmanager
    def apart(self, work: Callable[[T], R], *, begin: Callable[[], None]) -> Iterator[Callable[[T], Callable[[], R]]]:
        """Work in a process of its own where one can be forked and a second core runs it; otherwise in this thread.

        When that process dies (it may be killed for memory), what it has not done is done here.
        """
        # A fork copies the thread that calls, and locks as other threads hold them: so only while there are no others.
        pool = (
            _forked(work, begin) if sys.platform == "linux" and threading.active_count() == 1 and _cores() > 1 else None
        )
        if pool is None:
            yield lambda item: _known(work(item))
            return

        def hand_over(item: T) -> Callable[[], R]:
            written = pickle.dumps(item)  # kept for the case that it must be done again; the item is larger
            try:
                running: Future[R] = pool.submit(_do, written)
            except BrokenExecutor:
                return _known(work(item))

            def result() -> R:
                try:
                    return running.result()
                except BrokenExecutor:
                    _log.warning("the process that helped this one is gone: its work is done here")
                    return work(pickle.loads(written))  # noqa: S301 - written above

            return result

        try:
            yield hand_over
        finally:
            pool.shutdown(cancel_futures=True)

    def slots(self, count: int) -> AbstractContextManager[object]:
        """A semaphore."""
        return threading.BoundedSemaphore(count)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _known(result: R) -> Callable[[], R]:
    return lambda: result


#: In a process that was forked for it: the work.
_work: Any = None


def _forked(work: Callable[[T], R], begin: Callable[[], None]) -> Executor | None:
    """A process that is a copy of this one and waits for items; None where the system has no means for it."""
    # Imported here: half of a short command's time would be a tenth more.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    try:
        # "fork" hands the work over as it is: its mappings are compiled and its models are made already.
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(1, context, _begin_apart, (work, begin))
        pool.submit(_ready).result()  # forked by now, before this process has other threads
    except (OSError, ImportError, BrokenExecutor) as error:
        _log.info("no process can be made to help this one: %s", error)
        return None
    return pool


def _begin_apart(work: Any, begin: Callable[[], None]) -> None:
    global _work  # noqa: PLW0603 - a pool's initializer has no other place to leave it
    _work = work
    # Ctrl-C and a scheduler's signals are the parent's affair, and the child ends with it, however that ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.freeze()  # what was copied is never collected, so that its pages stay shared
    begin()


def _end_with_parent() -> None:
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _ready() -> None:
    """The first thing that is asked of the process."""


def _do(written: bytes) -> Any:
    return _work(pickle.loads(written))  # noqa: S301 - from the parent, through a pipe that nobody else has


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Threads give Python's lock away after a millisecond instead of five.

    What runs behind waits for the database some thirty times a batch, and after each time for its turn: at five
    milliseconds that was longer than the making of the next batch, so that nothing was made meanwhile (measured).
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class SystemTransport:
    """HTTP by `requests`: one session a thread, no redirects, no cookies kept, answers bounded in size and time."""

    def __init__(self) -> None:
        self._local = threading.local()

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """Sends one request and reads its whole answer; see `comptoir.sdk.ports.Transport` for the errors.

        ConfigError when the address is none. `timeout` bounds the whole call, however slowly the answer drips.
        """
        import requests
        import urllib3

        session = self._session()
        try:
            proxies = requests.utils.get_environ_proxies(request.url)
        except ValueError as e:
            raise ConfigError(f"the request cannot be sent: {_short(e)}", code="bad_address") from None
        deadline = time.monotonic() + timeout
        try:
            with session.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=request.body,
                timeout=(min(10.0, timeout), timeout),
                allow_redirects=False,
                stream=True,
                proxies=proxies,
            ) as response:
                body = _bounded(response, max_bytes, deadline)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return HttpResponse(response.status_code, headers, body)
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as e:
            raise TransientError(f"no connection: {_short(e)}", code="no_connection") from None
        except requests.exceptions.SSLError as e:
            # A refused handshake or certificate comes before the request; a broken stream may come after it.
            kind = TransientError if _before_the_request(e) else OutcomeUnknown
            raise kind(f"no secure connection: {_short(e)}", code="tls") from None
        except requests.exceptions.ConnectionError as e:
            # urllib3 says "Failed to establish" when nothing was sent; anything else may have arrived.
            kind = TransientError if "Failed to establish" in str(e) or "NameResolution" in str(e) else OutcomeUnknown
            raise kind(f"the connection failed: {_short(e)}", code="no_connection") from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidHeader,
            UnicodeError,
        ) as e:
            raise ConfigError(f"the request cannot be sent: {_short(e)}", code="bad_address") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as e:
            raise OutcomeUnknown(f"the answer did not arrive whole: {_short(e)}", code="answer_lost") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            from http.cookiejar import DefaultCookiePolicy

            import requests

            session = requests.Session()
            # A .netrc would replace our own Authorization header, so the environment is read by hand.
            session.trust_env = False
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            session.headers["User-Agent"] = "comptoir"
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._local.session = session
        return session


def _before_the_request(error: Exception) -> bool:
    words = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HANDSHAKE_FAILURE", "doesn't match", "TLSV1_ALERT")
    return any(word in str(error) for word in words)


def _bounded(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
    """The whole body; OutcomeUnknown when it is too large or too slow (the remote did get the request)."""
    declared = response.headers.get("Content-Length", "")
    announced = int(declared[:18]) if declared.isdecimal() else 0
    received = 0
    parts: list[bytes] = []
    while max(announced, received) <= max_bytes:
        # read1 comes back with each piece that has arrived, so that the deadline is seen however slowly they come.
        part = response.raw.read1(256 * 1024, decode_content=True)
        if not part:
            return b"".join(parts)
        parts.append(part)
        received += len(part)
        if time.monotonic() > deadline:
            raise OutcomeUnknown("the answer did not arrive whole: it was too slow", code="answer_lost")
    raise OutcomeUnknown(f"the answer is larger than {max_bytes} bytes", code="too_large")


def _short(error: Exception) -> str:
    """The innermost cause, in few words; URLs carry credentials and are left out."""
    cause: BaseException = error
    while True:
        inner = [getattr(cause, "reason", None), *reversed(cause.args)]
        found = next((i for i in inner if isinstance(i, BaseException)), None)
        if found is None:
            break
        cause = found
    text = str(getattr(cause, "strerror", None) or cause)
    return text.rsplit(": ", 1)[-1][:200] or type(error).__name__


@contextmanager
def rare_collection() -> Iterator[None]:
    """Python's cycle collector looks hundreds of times less often in the block.

    A batch makes half a million objects that live until it is stored and hold no cycles. At the usual setting they are
    walked through again and again: that was a fifth of a run's CPU time, and freed nothing.
    """
    before = gc.get_threshold()
    gc.set_threshold(500_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
