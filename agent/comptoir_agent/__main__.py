"""`python -m comptoir_agent`."""

import sys

from comptoir_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
