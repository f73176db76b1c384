"""Dispatches of a microgrid, on time and on Trio."""
