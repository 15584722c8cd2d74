"""G5: what is purged was proven unneeded twice, after everything open at the first look had ended."""
import time

import mgc
from site_of import SiteOf


def held_site(make, cluster, **settings):
    """A site on PostgreSQL with one held photo; returns (site, path of it)."""
    site = SiteOf(make, pg=cluster.database("proof"), **settings)
    site.do("migrate")
    site.tree.mount()
    site.tree.verified()
    photos = site.do("upload", count=3, prefix="p")
    site.do("delete_queryset", ids=photos["ids"][:1])
    time.sleep(0.1)
    assert site.tree.reconcile("--apply")["moved"] == 1
    return site, photos["paths"][0]


def test_a_transaction_open_at_the_first_proof_is_waited_for(make, cluster):
    """Its start is visible (the same role), and it mentions the file before it commits."""
    site, path = held_site(make, cluster, reconcile={"fence_for": "2s"})
    other = site.process()
    site.do("begin", process=other)
    site.do("mention", paths=[path], how="html", process=other)
    done = site.tree.run("purge", "--apply", "--json", status=(0, 1, 3))
    assert list(site.tree.held()) == [path], done.stdout + done.stderr
    site.do("commit", process=other)
    assert site.tree.reconcile("--apply")["healed"] == 1
    assert path in site.tree.files()
    site.close()


def test_a_mention_in_a_session_stops_a_purge(make, cluster):
    """Sessions do not keep a file alive, but nothing is deleted that one mentions."""
    site, path = held_site(make, cluster)
    cluster.sql("INSERT INTO django_session VALUES ('k', 'seen /media/" + path + "', now())",
                database="proof")
    assert site.tree.rows("purge", "--apply")[-1]["purged"] == 0
    cluster.sql("DELETE FROM django_session", database="proof")
    assert site.tree.rows("purge", "--apply")[-1]["purged"] == 1
    assert site.tree.held() == {}
    site.close()


def test_nothing_is_purged_before_its_retention(make, cluster):
    site, path = held_site(make, cluster, quarantine={"retention": "1h", "min_retention": "0s"})
    assert site.tree.rows("purge", "--apply")[-1]["purged"] == 0
    assert list(site.tree.held()) == [path]
    assert site.tree.rows("purge", "--apply", "--now", path)[-1]["purged"] == 1
    site.close()


def test_a_number_is_not_guessed_to_be_a_path(make):
    tree = make()
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("kept.txt")
    for i in range(6, 15):
        tree.write(str(i))
    tree.verified()
    assert tree.reconcile("--apply")["moved"] == 9
    clash = next(row["id"] for row in tree.held().values() if str(row["id"]) in tree.held())
    for command in (("purge", "--apply", "--now"), ("quarantine", "restore")):
        done = tree.run(*command, str(clash), status=2)
        assert f"./{clash}" in done.stderr
    assert len(tree.held()) == 9
    tree.run("quarantine", "restore", f"./{clash}")
    assert str(clash) not in tree.held() and len(tree.held()) == 8


def test_a_failing_pipeline_is_no_complete_source(make):
    tree = make(references=['references list { type = command  command = "(echo a.txt; exit 1) | cat" }'])
    tree.mount()
    tree.write("a.txt")
    tree.write("b.txt")
    tree.verified()
    tree.run("reconcile", "--apply", status=1)
    assert sorted(tree.files()) == ["a.txt", "b.txt"]


def test_a_run_has_no_more_rights_than_its_user(make):
    """Started by root, it reads and speaks to the daemon as the tree's owner."""
    tree = make(references=['references list { type = command  command = "echo uid-$(id -u).txt" }'])
    tree.mount()
    tree.write(f"uid-{mgc.WWW}.txt")
    tree.write("uid-0.txt")
    tree.verified()
    assert tree.reconcile("--apply")["moved"] == 1
    assert list(tree.files()) == [f"uid-{mgc.WWW}.txt"]
    events = [row for row in tree.rows("log") if row["event"] == "run"]
    assert events and all(row["who"].startswith(f"uid {mgc.WWW} ") for row in events), events
