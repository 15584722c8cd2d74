"""H6: a file that the application reaches under another path is not moved."""
import os
import subprocess

import mgc


def aliased(make, mention, prepare, **settings):
    """A tree with 2024/a.jpg, 2024/deep/b.jpg and orphan.jpg, of which `mention` is mentioned."""
    tree = make(**settings)
    block, _ = mgc.command_source(tree.root, ["live.jpg", *mention])
    tree.references.append(block)
    tree.write_conf()
    for name in ("live.jpg", "orphan.jpg", "2024/a.jpg", "2024/deep/b.jpg"):
        path = os.path.join(tree.source, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(name.encode())
    prepare(tree.source)
    subprocess.run(["chown", "-Rh", "www-data:", tree.source], check=True)
    tree.mount()
    tree.verified()
    return tree


def only_the_orphan_goes(tree):
    """Two runs that act; afterwards every other name is as it was."""
    before = tree.files()
    run = tree.reconcile("--apply")
    assert (run["result"], run["moved"], run["failed"]) == ("done", 1, 0), run
    assert sorted(tree.held()) == ["orphan.jpg"]
    assert tree.reconcile("--apply")["moved"] == 0
    del before["orphan.jpg"]
    assert tree.files() == before
    return run


def test_what_lies_behind_a_linked_directory_stays(make):
    tree = aliased(make, ["latest/a.jpg"],
                   lambda source: os.symlink("2024", os.path.join(source, "latest")))
    run = only_the_orphan_goes(tree)
    assert run["kept"] >= 2, run
    with open(tree.path("latest/a.jpg"), "rb") as f:
        assert f.read() == b"2024/a.jpg"
    told = tree.rows("explain", "2024/deep/b.jpg")[-1]
    assert (told["verdict"], told["why"]) == ("kept", "reachable by another path"), told


def test_an_absolute_link_by_the_mount_point_counts(make):
    def prepare(source):
        mountpoint = os.path.join(os.path.dirname(source), "media")
        os.symlink(os.path.join(mountpoint, "2024"), os.path.join(source, "latest"))

    only_the_orphan_goes(aliased(make, ["latest/a.jpg"], prepare, separate=True))


def test_a_linked_file_stays(make):
    def prepare(source):
        os.symlink("a.jpg", os.path.join(source, "2024", "cover.jpg"))
        os.symlink("deep/b.jpg", os.path.join(source, "2024", "b.jpg"))

    only_the_orphan_goes(aliased(make, ["2024/cover.jpg"], prepare))


def test_a_directory_mounted_twice_inside_the_tree_stays(make):
    def prepare(source):
        alias = os.path.join(source, "latest")
        os.mkdir(alias)
        subprocess.run(["mount", "--bind", os.path.join(source, "2024"), alias], check=True)

    tree = aliased(make, ["latest/a.jpg"], prepare, separate=True)
    assert os.stat(os.path.join(tree.source, "2024/a.jpg")).st_nlink == 1
    assert "latest/deep/b.jpg" in tree.files(), "the mount shows the second path"
    run = only_the_orphan_goes(tree)
    assert run["candidates"] == 1, run
    told = tree.rows("explain", "2024/a.jpg")[-1]
    assert (told["verdict"], told["why"]) == ("kept", "reachable by another path"), told


def test_a_link_that_cannot_be_followed_stops_the_run(make):
    tree = aliased(make, [], lambda source: os.symlink("loop", os.path.join(source, "loop")))
    done = tree.run("reconcile", "--apply", status=1)
    assert "could not tell where link 'loop' leads" in done.stderr
    assert tree.held() == {}
    os.unlink(tree.path("loop"))
    assert tree.reconcile("--apply")["moved"] == 3


def test_a_dangling_link_goes_like_any_orphan(make):
    tree = aliased(make, ["2024/a.jpg", "2024/deep/b.jpg"],
                   lambda source: os.symlink("gone.jpg", os.path.join(source, "dangling")))
    run = tree.reconcile("--apply")
    assert run["moved"] == 2, run
    assert sorted(tree.held()) == ["dangling", "orphan.jpg"]
