"""The install target, and the helper that makes a line of /etc/fstab work."""
import os
import subprocess

import pytest

import mgc


@pytest.fixture
def installed(place):
    """Programs, helper, sample and documents under a prefix of their own."""
    prefix = os.path.join(place, "usr")
    subprocess.run(["cmake", "--install", mgc.BUILD, "--prefix", prefix], check=True,
                   stdout=subprocess.DEVNULL)
    return prefix


def test_everything_is_installed(installed):
    for path in ("bin/mediagcfs", "sbin/mediagcfsd", "sbin/mount.mediagcfs",
                 "share/mediagcfs/mediagcfs.conf", "share/doc/mediagcfs/README.md"):
        assert os.path.exists(os.path.join(installed, path)), path
    done = subprocess.run([f"{installed}/bin/mediagcfs", "--version"], capture_output=True,
                          text=True, check=True)
    assert done.stdout.startswith("mediagcfs ")


def test_the_mount_helper_takes_a_configuration(installed, make):
    tree = make()
    helper = os.path.join(installed, "sbin", "mount.mediagcfs")
    # mount(8) calls it so for: CONF  DIR  mediagcfs  defaults  0 0
    subprocess.run([helper, tree.conf, tree.mountpoint, "-o", "rw"], check=True, timeout=60,
                   stderr=subprocess.DEVNULL)
    status = tree.status()
    tree.pids.append(status["pid"])
    assert status["mounted"] is True and status["mountpoint"] == tree.mountpoint
    tree.write("a.txt", b"a")
    with open(f"/proc/{status['pid']}/cmdline", "rb") as f:
        assert f.read().startswith(installed.encode())
    tree.unmount()


def test_the_mount_helper_refuses_another_mount_point(installed, make):
    tree = make()
    other = os.path.join(tree.root, "other")
    os.mkdir(other)
    done = subprocess.run([os.path.join(installed, "sbin", "mount.mediagcfs"), tree.conf, other],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and other in done.stderr, done.stderr
    assert tree.status()["mounted"] is False


def test_the_mount_helper_says_what_it_cannot_read(installed, place):
    done = subprocess.run([os.path.join(installed, "sbin", "mount.mediagcfs"),
                           f"{place}/none.conf", place], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "none.conf" in done.stderr
