"""The generated messages of the dispatch API.

The generated packages are private to `api`; everything else takes their names from here.
"""

# ruff: noqa: F403 - every generated name is meant

from ._generated.frequenz.api.common.v1alpha8.microgrid.electrical_components import *
from ._generated.frequenz.api.common.v1alpha8.pagination import *
from ._generated.frequenz.api.common.v1alpha8.streaming import *
from ._generated.frequenz.api.common.v1alpha8.types import *
from ._generated.frequenz.api.dispatch.v1 import *
from ._generated.google.protobuf import *
