from . import dispatchers as dispatchers
from . import runs as runs
from . import runs_wire as runs_wire
