"""The whole job on a real site: exactly what no row mentions any more is held, on both databases."""
import hashlib
import os
import time

import pytest

GRACE_SECONDS = 8


def digests(files):
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def fill(site):
    """2,000 uploads and what becomes of them; returns (paths that must go, everything there)."""
    gone = []
    main = site.do("upload", count=1200, prefix="main")
    cascade = site.do("upload", count=150, prefix="cascade", album="summer")
    text = site.do("store", count=300, prefix="in text")["paths"]
    site.do("mention", paths=text[:150], how="html")
    site.do("mention", paths=text[150:], how="json")
    other = site.do("upload", count=300, prefix="other")
    # 500 rows deleted in three ways
    site.do("delete_queryset", ids=main["ids"][:200])
    site.do("delete_sql", ids=main["ids"][200:350])
    site.do("delete_album", album=cascade["album"])
    gone += main["paths"][:350] + cascade["paths"]
    # 200 files replaced
    gone += site.do("replace", ids=other["ids"][:200], prefix="new")["old"]
    # 50 uploads of a transaction that is rolled back
    site.do("begin")
    lost = site.do("upload", count=50, prefix="rolled back")["paths"]
    site.do("rollback")
    gone += lost
    return gone


@pytest.mark.sanitize
@pytest.mark.settings(reconcile={"grace": f"{GRACE_SECONDS}s"})
def test_exactly_the_unreferenced_files_are_held(site):
    tree = site.tree
    gone = fill(site)
    time.sleep(GRACE_SECONDS + 1)
    second = site.process()
    site.do("begin", process=second)
    pending = site.do("upload", count=50, prefix="pending", process=second)["paths"]
    before = digests(tree.files())
    assert len(before) == 1200 + 150 + 300 + 300 + 200 + 50 + 50

    described = tree.reconcile()
    assert described["moved"] == 0 and described["candidates"] == len(gone), described
    assert digests(tree.files()) == before, "a describing run changes nothing"

    applied = tree.reconcile("--apply")
    assert applied["moved"] == len(gone), applied
    held = tree.held()
    assert sorted(held) == sorted(gone)
    after = digests(tree.files())
    assert after == {path: d for path, d in before.items() if path not in held}

    site.do("commit", process=second)
    files = site.do("referenced")["files"]
    assert set(pending) <= set(files), "the open transaction commits with its files intact"
    assert all(after[path] == digest for path, digest in files.items())

    time.sleep(GRACE_SECONDS + 1)
    again = tree.reconcile("--apply")
    assert (again["moved"], again["healed"]) == (0, 0), again
    assert digests(tree.files()) == after

    tree.unmount()
    slots = sorted(hashlib.sha256(data).hexdigest() for data in tree.slots().values())
    assert slots == sorted(before[path] for path in gone), "what is held is whole"


@pytest.mark.settings(reconcile={"grace": "1s"})
def test_look_restore_heal_and_purge(site):
    tree = site.tree
    photos = site.do("upload", count=6, prefix="p")
    site.do("delete_queryset", ids=photos["ids"][:4])
    time.sleep(2)
    assert tree.reconcile("--apply")["moved"] == 4
    paths = photos["paths"]
    before = {path: tree.held()[path]["bytes"] for path in paths[:4]}

    restored = tree.rows("quarantine", "restore", paths[0])
    assert restored[-1]["restored"] == 1
    assert os.path.getsize(tree.path(paths[0])) == before[paths[0]]

    # A row that mentions a held file again: the next run puts it back.
    site.do("mention", paths=[paths[1]], how="html")
    assert tree.reconcile("--apply")["healed"] == 1
    assert os.path.getsize(tree.path(paths[1])) == before[paths[1]]

    # What is mentioned is not purged, not even at once; what is not goes.
    site.do("mention", paths=[paths[2]], how="json")
    refused = tree.rows("purge", "--apply", "--now", paths[2], status=3)
    assert refused[-1]["purged"] == 0
    purged = tree.rows("purge", "--apply")
    assert purged[-1]["purged"] == 1, purged
    assert sorted(tree.held()) == [paths[2]]
    assert not os.path.exists(tree.path(paths[3]))
    events = [row["event"] for row in tree.rows("log")]
    assert events.count("move") >= 4 and "heal" in events and "restore" in events
    assert events.count("purge") == 1
