"""The generated messages of the API of runs and changes.

They have a module of their own because some names, such as `Change`, are too general for `wire`.
"""

# ruff: noqa: F403 - every generated name is meant

from ._generated.trio_dispatch.runs.v1 import *
