"""Fixtures of the mount: one mount for all comparisons, a pair of fresh directories for each."""
import itertools
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import mgc  # noqa: E402
from twin import EVERYBODY, Twin  # noqa: E402


def pytest_collection_modifyitems(items):
    """What an application sees is looked at under the sanitizers too."""
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here + os.sep):
            item.add_marker(pytest.mark.sanitize)


@pytest.fixture(scope="session")
def shared():
    """A mounted tree with its source beside it, and a directory 'plain' on the same filesystem."""
    place = tempfile.mkdtemp(prefix="mgc-", dir="/dev/shm")
    os.chmod(place, 0o755)
    tree = mgc.Tree(os.path.join(place, "shared"), separate=True)
    os.mkdir(os.path.join(tree.root, "plain"))
    try:
        tree.mount()
        yield tree
        report = tree.close()
        assert report is None, report
    finally:
        tree.close()
        shutil.rmtree(place)


numbers = itertools.count()


@pytest.fixture
def twin(shared):
    """An empty directory, writable for everybody, on the mount and beside it."""
    return Twin(shared, f"d{next(numbers)}")


@pytest.fixture(params=EVERYBODY, ids=repr)
def who(request):
    """Root, the owner of the tree, and a stranger."""
    return request.param
