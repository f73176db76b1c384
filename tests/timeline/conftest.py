"""What the tests of pictures share."""

from __future__ import annotations

import sys
from pathlib import Path

# Test modules share what is in `drawing`, and the dispatches of the picture of the documentation.
sys.path.insert(0, str(Path(__file__).parent))
