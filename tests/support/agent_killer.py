"""Runs the agent and dies by SIGKILL at one point of its code, as `tests.support.killer` does with the hub.

python -m tests.support.agent_killer MODULE:QUALIFIED.NAME before|after COUNT -- ARGUMENTS OF comptoir-agent
"""

from __future__ import annotations

import sys

from comptoir_agent.cli import main as agent

from tests.support.killer import die_at


def main() -> int:
    separator = sys.argv.index("--")
    point, moment, count = sys.argv[1:separator]
    die_at(point, moment, int(count))
    return agent(sys.argv[separator + 1 :])


if __name__ == "__main__":
    sys.exit(main())
