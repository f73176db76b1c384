from . import dispatchers as dispatchers, runs as runs, runs_wire as runs_wire
