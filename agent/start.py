"""Where the frozen program begins."""

import sys

from comptoir_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
