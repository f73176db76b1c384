"""``python -m trio_dispatch.cli``."""

from . import main

main()
