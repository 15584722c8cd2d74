"""Sites on both databases."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from site_of import SiteOf  # noqa: E402


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request, make):
    """A Django site, migrated and mounted, on each database in turn."""
    pg = None
    if request.param == "postgresql":
        cluster = request.getfixturevalue("cluster")
        pg = cluster.database("trial")
    one = SiteOf(make, pg=pg, **getattr(request.node.get_closest_marker("settings"), "kwargs", {}))
    one.do("migrate")
    one.tree.mount()
    one.tree.verified()
    yield one
    one.close()
