"""Bad input gets a clear error that names the thing and the remedy, and nothing is lost."""
import errno
import os
import socket
import sqlite3
import subprocess

import pytest

import mgc


def fill(path):
    """Writes until the disk is full: ENOSPC reaches the application as it is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError) as caught:
            while True:
                os.write(fd, b"\0" * 4096)
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(fd)


def mount_fails(tree, *words, status=1):
    done = tree.run("mount", status=status)
    for word in words:
        assert word in done.stderr, f"'{word}' is missing in: {done.stderr}"
    assert tree.status()["mounted"] is False
    return done


@pytest.mark.parametrize("text, words", [
    ('filesystem { scource = "/srv" }', ("scource", ":1")),
    ('filesystem { source = "/srv" }\nreconcile {\n  grace = tomorrow\n}', ("grace", "tomorrow", ":3")),
    ('filesystem { source = "srv/media" }', ("srv/media",)),
    ('filesystem { source = "/srv" }\nreconcile { max_share = 140% }', ("max_share", "140%")),
    ('filesystem { source = "/srv" }\nreferences a { type = oracle }', ("oracle",)),
    ('filesystem { source = "/srv" }\nnonsense { }', ("nonsense",)),
    ('filesystem { source = "/srv"', ()),
    ("", ("source",)),
])
def test_configuration_errors_name_file_line_and_key(place, text, words):
    conf = os.path.join(place, "bad.conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(text)
    for command in ("status", "mount", "config"):
        done = subprocess.run([mgc.CLI, "-c", conf, command], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 1, done
        assert conf in done.stderr
        for word in words:
            assert word in done.stderr, done.stderr


def test_a_missing_configuration_is_named(place):
    done = subprocess.run([mgc.CLI, "-c", f"{place}/none.conf", "status"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and f"{place}/none.conf" in done.stderr


def test_missing_source(make):
    tree = make()
    os.rmdir(tree.source)
    mount_fails(tree, tree.source)


def test_source_is_a_file(make):
    tree = make()
    os.rmdir(tree.source)
    with open(tree.source, "w", encoding="utf-8"):
        pass
    mount_fails(tree, tree.source)


def test_source_inside_our_own_mount(make, tree):
    inner = make()
    os.mkdir(tree.path("inside"))
    inner.source = inner.mountpoint = tree.path("inside")
    inner.write_conf()
    mount_fails(inner, "mediagcfs mount")


def test_mount_point_busy(make):
    tree = make()
    tree.mountpoint = os.path.join(tree.root, "elsewhere")
    os.mkdir(tree.mountpoint)
    tree.write_conf()
    subprocess.run(["mount", "-t", "tmpfs", "none", tree.mountpoint], check=True)
    mount_fails(tree, tree.mountpoint)


def test_mounted_already(tree):
    done = tree.run("mount", status=1)
    assert "served already" in done.stderr
    assert tree.status()["mounted"] is True


def test_two_daemons_for_one_tree(make, tree):
    second = make()
    second.source = tree.root + "/media"
    second.mountpoint = os.path.join(second.root, "other")
    os.mkdir(second.mountpoint)
    tree.unmount()
    tree.mountpoint = os.path.join(tree.root, "first")
    os.mkdir(tree.mountpoint)
    tree.write_conf()
    tree.mount()
    second.write_conf()
    done = mount_fails(second)
    assert str(tree.pids[-1]) in done.stderr, done.stderr
    assert second.run("scan", "--offline", status=1).stderr != ""


@pytest.mark.parametrize("by_link", [False, True])
def test_catalog_beneath_the_mount_point(make, by_link):
    tree = make()
    place = tree.source
    if by_link:
        place = os.path.join(tree.root, "link")
        os.symlink(tree.source, place)
    tree.catalog = os.path.join(place, "catalog")
    tree.write_conf()
    for command in (("mount",), ("config", "check")):
        done = tree.run(*command, status=1)
        said = done.stderr + done.stdout
        assert "catalog" in said and tree.source in said, said
    assert os.listdir(tree.source) == []


def test_a_log_beneath_the_mount_point(make):
    tree = make(log={"file": '"/nowhere"'})
    os.symlink(tree.source, os.path.join(tree.root, "link"))
    for place in (tree.source, os.path.join(tree.root, "link")):
        tree.blocks["log"]["file"] = f'"{place}/events.jsonl"'
        tree.write_conf()
        for command in (("mount",), ("config", "check")):
            done = tree.run(*command, status=1)
            assert "events.jsonl" in done.stderr + done.stdout or "log" in done.stderr, done
    assert os.listdir(tree.source) == []


def test_catalog_of_a_newer_version_is_left_alone(make):
    tree = make().mount()
    tree.write("a.txt", b"a")
    tree.unmount()
    database = os.path.join(tree.catalog, "catalog.db")
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 9999")
    db.close()
    mount_fails(tree, "newer version")
    db = sqlite3.connect(database)
    assert db.execute("PRAGMA user_version").fetchone() == (9999,)
    assert db.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    db.close()


def test_a_damaged_catalog_is_set_aside_and_rebuilt(make):
    tree = make().mount()
    tree.write("a.txt", b"a")
    tree.write("d/b.txt", b"b")
    tree.unmount()
    with open(os.path.join(tree.catalog, "catalog.db"), "r+b") as f:
        f.write(b"this is no database" * 300)
    tree.mount()
    tree.verified()
    assert tree.status()["entries"] == 2
    assert any("corrupt" in name for name in os.listdir(tree.catalog))


def test_a_catalog_of_another_tree_is_refused(make):
    tree = make().mount()
    tree.unmount()
    other = make().mount()
    other.unmount()
    other.catalog = tree.catalog
    other.write_conf()
    mount_fails(other, "another tree", status=3)


def test_a_read_only_tree(make):
    tree = make()
    subprocess.run(["mount", "--bind", tree.source, tree.source], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", tree.source], check=True)
    mount_fails(tree, "ead-only")


def test_a_foreign_private_directory(make):
    tree = make()
    os.mkdir(os.path.join(tree.source, ".mediagcfs"))
    with open(os.path.join(tree.source, ".mediagcfs", "mine"), "w", encoding="utf-8") as f:
        f.write("keep")
    mount_fails(tree, ".mediagcfs")
    assert os.listdir(os.path.join(tree.source, ".mediagcfs")) == ["mine"]


def test_quarantine_on_another_filesystem_moves_nothing(make):
    tree = make()
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("kept.txt")
    tree.write("orphan.txt")
    tree.unmount()
    subprocess.run(["mount", "-t", "tmpfs", "none",
                    os.path.join(tree.source, ".mediagcfs", "slots")], check=True)
    tree.mount()
    tree.verified()
    done = tree.run("reconcile", "--apply", status=(1, 3, 4))
    assert "another filesystem" in done.stderr, done.stderr
    assert tree.files() == {"kept.txt": b"x", "orphan.txt": b"x"}
    assert tree.held() == {}


def test_an_unreachable_database(make):
    tree = make(references=[
        'references app { type = postgresql  conninfo = "host=/nonexistent dbname=x user=y" }'])
    tree.mount()
    tree.write("a.txt")
    tree.verified()
    done = tree.run("reconcile", "--apply", status=1)
    assert "app" in done.stderr and "/nonexistent" in done.stderr
    check = tree.rows("config", "check", status=1)
    assert [row["ok"] for row in check if row["check"] == "app"] == [False]
    assert tree.files() == {"a.txt": b"x"}
    assert tree.status()["last_run"]["moved"] == 0


def test_a_wrong_password(make, cluster):
    info = cluster.database("locked")
    hba = os.path.join(cluster.data, "pg_hba.conf")
    with open(hba, encoding="utf-8") as f:
        before = f.read()
    with open(hba, "w", encoding="utf-8") as f:
        f.write("local locked locked scram-sha-256\n" + before)
    cluster.sql("ALTER ROLE locked PASSWORD 'right'")
    cluster.sql("SELECT pg_reload_conf()")
    tree = make(references=[
        f'references app {{ type = postgresql  conninfo = "{info} password=wrong" }}'])
    tree.mount()
    tree.verified()
    done = tree.run("reconcile", "--apply", status=1)
    assert "password" in done.stderr and "app" in done.stderr
    assert "wrong" not in done.stderr, "a password is never shown"


def test_a_full_disk_under_the_catalog_never_fails_the_application(make):
    tree = make()
    state = os.path.join(tree.root, "state")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "none", state], check=True)
    tree.mount()
    tree.verified()
    fill(os.path.join(state, "fill"))
    for i in range(300):
        tree.write(f"d/{i}.txt", b"data")
    assert len(tree.files()) == 300
    os.unlink(os.path.join(state, "fill"))
    mgc.wait_for(lambda: tree.rows("scan", status=(0, 1))[-1:] and
                 tree.status()["entries"] == 300, 30, "a complete catalog")


def test_a_full_media_disk_moves_and_restores(make):
    """A move is a rename: it needs no space for content."""
    tree = make()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "none", tree.source],
                   check=True)
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("kept.txt", b"k")
    tree.write("orphan.txt", b"o" * 1000)
    tree.verified()
    fill(tree.path("fill"))
    os.unlink(tree.path("fill"))
    assert tree.reconcile("--apply")["moved"] == 1
    tree.run("quarantine", "restore", "orphan.txt")
    assert tree.files() == {"kept.txt": b"k", "orphan.txt": b"o" * 1000}


def test_a_media_root_that_is_a_symlink(make):
    tree = make()
    link = os.path.join(tree.root, "link")
    os.symlink("media", link)
    tree.source = tree.mountpoint = link
    tree.write_conf()
    tree.mount()
    assert tree.status()["mountpoint"] == os.path.join(tree.root, "media")
    tree.write("a.txt", b"a")
    tree.unmount()
    assert not os.path.ismount(os.path.join(tree.root, "media"))
    assert tree.files() == {"a.txt": b"a"}


def test_a_daemon_that_does_not_say_whose_runs_are_leaves_nobody_root(make):
    tree = make()
    block, _ = mgc.command_source(tree.root)
    tree.references.append(block)
    tree.write_conf()
    os.makedirs(tree.catalog)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join(tree.catalog, "control.sock"))
        listening.listen()
        client = subprocess.Popen([mgc.CLI, "-c", tree.conf, "reconcile"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with listening.accept()[0] as daemon:
            assert b"hello" in daemon.recv(4096)
            daemon.sendall(b'{"ok":{}}\n')
            _, said = client.communicate(timeout=30)
    assert client.returncode == 1 and "which user" in said, said
