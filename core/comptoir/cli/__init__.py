"""`comptoir`: the command line. Commands import what they need when they run, so that starting is quick.

Exit codes: 0 done (also when records were parked or a plan waits: see the report); 1 unexpected error;
2 configuration or usage; 3 credentials refused; 4 a remote is unreachable, failing or its answer was lost;
5 database down or disk full; 6 a record was refused (commands on one record); 7 a connector or remote broke its
contract; 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point: runs the command and turns errors into a message, a hint and an exit code."""
    # What is imported stays: looking for garbage in it again and again is a sixth of the time to start.
    gc.set_threshold(500_000, 10, 10)
    from comptoir.cli.commands import app
    from comptoir.errors import ComptoirError

    try:
        app()
    except ComptoirError as error:
        from comptoir.cli.output import show_error

        show_error(error)
        _leave(error.exit_code)
    except KeyboardInterrupt:
        print("\nInterrupted; what was committed stays, the next run goes on.", file=sys.stderr)
        _leave(130)
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nothing more to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(1)
    finally:
        # The process ends: its memory goes back as a whole, and no cycle in it need be looked for.
        gc.freeze()


def _leave(code: int) -> None:
    sys.exit(code)
