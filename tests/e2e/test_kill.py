"""kill -9 at any moment of a run: every file is whole at one place, and the next start goes on."""
import hashlib
import os
import signal
import subprocess
import time

import pytest

import mgc
from site_of import SiteOf

KILLS = 8


def everything(tree):
    """Digests of what is in the tree and in the slots, beneath the mount."""
    live = {path: hashlib.sha256(data).hexdigest()
            for path, data in tree.files(tree.source).items()}
    held = sorted(hashlib.sha256(data).hexdigest() for data in tree.slots().values())
    return live, held


def check(tree, before, gone):
    """Nothing lost, nothing twice, nothing live moved."""
    live, held = everything(tree)
    assert sorted(list(live.values()) + held) == sorted(before.values())
    for path, digest in before.items():
        if path not in gone:
            assert live.get(path) == digest, f"a live file was touched: {path}"
        elif path in live:
            assert live[path] == digest, f"an orphan is damaged: {path}"


@pytest.fixture
def killed(make, cluster):
    """A site on PostgreSQL with 120 orphans among 300 files; the waits are off."""
    site = SiteOf(make, pg=cluster.database("killed"), separate=True,
                  reconcile={"grace": "1s", "max_files": "off"})
    site.do("migrate")
    site.tree.mount()
    site.tree.verified()
    photos = site.do("upload", count=300, prefix="k")
    site.do("delete_queryset", ids=photos["ids"][:120])
    time.sleep(1.5)
    before = {path: hashlib.sha256(data).hexdigest()
              for path, data in site.tree.files().items()}
    yield site, before, set(photos["paths"][:120])
    site.close()


def start_run(tree):
    return subprocess.Popen([mgc.CLI, "-c", tree.conf, "reconcile", "--apply"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def back_to_the_start(tree, gone):
    tree.run("quarantine", "restore", "--all", status=(0, 1))
    assert gone <= set(tree.files())
    time.sleep(1.5)  # what was restored is born anew: one grace


def finish(site, before, gone):
    """The next run does the whole job; then everything is where it belongs."""
    tree = site.tree
    tree.verified()
    mgc.wait_for(lambda: tree.run("reconcile", "--apply", status=(0, 1)).returncode == 0, 60,
                 "a run after the kill")
    assert set(tree.held()) == gone
    check(tree, before, gone)
    site.do("referenced")


@pytest.mark.sanitize
def test_killing_the_daemon(killed):
    site, before, gone = killed
    tree = site.tree
    for i in range(KILLS):
        run = start_run(tree)
        time.sleep(0.02 + 0.04 * i)
        tree.kill()
        run.wait(60)
        check(tree, before, gone)
        tree.mount()
        assert len(os.listdir(tree.mountpoint)) > 0, "the next start goes on"
        tree.verified()
        check(tree, before, gone)
        if i % 3 == 2:
            back_to_the_start(tree, gone)
    time.sleep(1.5)
    finish(site, before, gone)


def test_killing_the_reconciler(killed):
    site, before, gone = killed
    tree = site.tree
    for i in range(KILLS):
        run = start_run(tree)
        time.sleep(0.01 + 0.03 * i)
        run.send_signal(signal.SIGKILL)
        run.wait(60)
        assert tree.status()["mounted"] is True
        check(tree, before, gone)
        if i % 3 == 2:
            back_to_the_start(tree, gone)
    finish(site, before, gone)


def test_killing_the_database(killed, cluster):
    site, before, gone = killed
    tree = site.tree
    for i in range(4):
        run = start_run(tree)
        time.sleep(0.02 + 0.05 * i)
        cluster.stop("immediate")
        run.wait(60)
        tree.write(f"while-down-{i}.txt", b"served all the same")
        with open(tree.path(f"while-down-{i}.txt"), "rb") as f:
            assert f.read() == b"served all the same"
        os.unlink(tree.path(f"while-down-{i}.txt"))
        check(tree, before, gone)
        assert tree.run("reconcile", "--apply", status=1).stderr != ""
        check(tree, before, gone)
        cluster.start()
    site.first = site.process()  # the connection of the first one is gone
    back_to_the_start(tree, gone)
    finish(site, before, gone)


def test_a_dead_mount_is_detached_in_the_second_after(make):
    """H13: also in place, where the dead mount hides the source."""
    tree = make()
    tree.mount()
    tree.write("a.txt", b"a")
    for _ in range(3):
        os.kill(tree.pids[-1], signal.SIGKILL)
        tree.mount()
        assert tree.files() == {"a.txt": b"a"}
    tree.verified()
    assert tree.status()["entries"] == 1
