#!/usr/bin/env python
"""Whether one program of this container is alive; for the health checks of docker-compose.yml.

    comptoir-health http://127.0.0.1:8090/health     it answers with a status below 400
    comptoir-health SchedulerJob                      Airflow's program of this host has a fresh heartbeat

Exit code 0: alive; 1: not, with one line that says why. `airflow jobs check` answers the same question, but
imports all of Airflow for it: three to six seconds of a core, every half minute, for each of three programs.
"""

from __future__ import annotations

import os
import socket  # noqa: TID251 - a probe of its own, no part of the engine
import sys
import urllib.error
from urllib.request import ProxyHandler, build_opener  # noqa: TID251 - likewise

import psycopg

JOBS = ("DagProcessorJob", "SchedulerJob", "TriggererJob")
#: Programs write one every five seconds; a busy machine is given time.
FRESH_SECONDS = 60
TIMEOUT_SECONDS = 5


def answers(url: str) -> str | None:
    """None when the address answers, else what is wrong."""
    # Never through a proxy: it is this container itself.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return None
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


def beats(job: str, url: str) -> str | None:
    """None when this host's program of this kind runs and was alive a moment ago, else what is wrong."""
    plain = "postgresql://" + url.partition("://")[2]
    try:
        with psycopg.connect(plain, connect_timeout=TIMEOUT_SECONDS) as connection:
            row = connection.execute(
                "select extract(epoch from now() - max(latest_heartbeat)) from job"
                " where job_type = %s and hostname = %s and state = 'running'",
                (job, socket.gethostname()),
            ).fetchone()
    except psycopg.Error as error:
        return f"{job}: the metadata database does not answer: {type(error).__name__}"
    age = row[0] if row else None
    if age is None:
        return f"{job}: none runs on {socket.gethostname()}"
    return None if age < FRESH_SECONDS else f"{job}: its last heartbeat is {age:.0f} seconds old"


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    if len(arguments) != 1 or not (arguments[0] in JOBS or arguments[0].startswith("http://")):
        sys.stderr.write(f"usage: comptoir-health URL | {' | '.join(JOBS)}\n")
        return 1
    (asked,) = arguments
    if asked in JOBS:
        url = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
        wrong = beats(asked, url) if url else "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN is not set"
    else:
        wrong = answers(asked)
    if wrong:
        sys.stderr.write(wrong + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
