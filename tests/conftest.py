"""Fixtures for tests on real mounts, real servers and real Django.

Whatever a test starts ends with it, also when it fails: the daemon by its pid, then the mount.
"""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import mgc  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitize: runs under ASan and UBSan too")
    config.addinivalue_line("markers", "settings(**blocks): configuration of the fixture 'site'")


@pytest.fixture
def place():
    """A private directory in memory; what is still mounted in it is detached at the end."""
    path = tempfile.mkdtemp(prefix="mgc-", dir="/dev/shm")
    os.chmod(path, 0o755)
    yield path
    mgc.detach_all(path)
    shutil.rmtree(path)


@pytest.fixture
def make(place):
    """Makes mgc.Tree objects below `place`."""
    trees = []

    def factory(**settings):
        tree = mgc.Tree(os.path.join(place, f"t{len(trees)}"), **settings)
        trees.append(tree)
        return tree

    yield factory
    failures = [tree.close() for tree in trees]
    reports = [report for report in failures if report]
    assert not reports, "\n".join(reports)


@pytest.fixture
def tree(make):
    """A mounted tree, in place, with every wait off and no references."""
    one = make()
    one.mount()
    return one


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL server of our own on a socket in memory."""
    server = mgc.Cluster()
    server.start()
    yield server
    server.close()
