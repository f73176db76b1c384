"""Values of the domain, and pure functions of a given time: nothing here does I/O."""
