"""G7: the mount goes on serving while runs, outages and purges happen."""
import os
import subprocess
import threading
import time

import mgc


def hammer(tree, seconds, latencies):
    """Writes, reads, renames and removes through the mount; notes how long each round took."""
    end = time.monotonic() + seconds
    i = 0
    while time.monotonic() < end:
        began = time.monotonic()
        path = tree.write(f"load/{i}.bin", b"d" * 20000)
        with open(path, "rb") as f:
            assert len(f.read()) == 20000
        os.rename(path, path + ".x")
        os.unlink(path + ".x")
        latencies.append(time.monotonic() - began)
        i += 1


def test_reads_and_writes_go_on_during_a_run(make, cluster):
    info = cluster.database("slow")
    tree = make(references=[
        f'references app {{ type = postgresql  conninfo = "{info}"'
        '  query = {"SELECT pg_sleep(3)::text"} }'])
    tree.mount()
    for i in range(50):
        tree.write(f"old/{i}.txt")
    tree.verified()
    latencies = []
    load = threading.Thread(target=hammer, args=(tree, 4, latencies))
    load.start()
    began = time.monotonic()
    tree.run("reconcile", "--apply", status=(0, 3))
    lasted = time.monotonic() - began
    load.join()
    assert lasted > 2.5, "the run was going on while the load was"
    assert len(latencies) > 50
    assert max(latencies) < 1.0, f"a round of requests took {max(latencies):.2f} s"


def test_two_runs_at_once_are_refused(make):
    tree = make(references=['references slow { type = command  command = "sleep 2; echo a.txt" }'])
    tree.mount()
    tree.write("a.txt")
    tree.verified()
    first = subprocess.Popen([mgc.CLI, "-c", tree.conf, "reconcile"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    done = tree.run("reconcile", status=1)
    assert "another run" in done.stderr
    assert first.wait(30) == 0


def test_the_schedule_starts_runs_and_purges(make):
    tree = make(reconcile={"every": "1s", "mode": "apply"}, purge={"every": "1s", "mode": "apply"})
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("kept.txt")
    tree.write("orphan.txt")
    mgc.wait_for(lambda: "purge" in [row["event"] for row in tree.rows("log")], 40,
                 "a scheduled purge")
    assert tree.files() == {"kept.txt": b"x"}
    assert tree.held() == {}


def test_a_run_that_cannot_begin_is_not_tried_every_second(make):
    tree = make(reconcile={"every": "5s"})
    block, _ = mgc.command_source(tree.root, ["a.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("a.txt")
    mgc.wait_for(lambda: tree.status()["last_run"], 20, "a first run")
    os.chmod(tree.catalog, 0o700)  # the reconciler's user cannot reach the daemon any more
    mgc.wait_for(lambda: "could not reach" in tree.daemon_log(), 20, "a run that could not begin")
    time.sleep(4)
    assert tree.daemon_log().count("could not reach") == 1, tree.daemon_log()


def test_a_scheduled_run_has_no_capabilities(make):
    """The daemon's threads keep theirs when they change ids; a child that gives up root must not."""
    tree = make(reconcile={"every": "1s"})
    script, told = os.path.join(tree.root, "list.sh"), os.path.join(tree.root, "told")
    with open(script, "w", encoding="utf-8") as f:
        f.write(f"""p=$PPID
while [ "$p" -gt 1 ] && [ "$(cat /proc/$p/comm)" != mediagcfs ]; do
    p=$(awk '/^PPid/ {{ print $2 }}' /proc/$p/status)
done
awk '/^(Uid|CapPrm|CapEff)/ {{ print $1, $2 }}' /proc/$p/status > {told}.new
mv {told}.new {told}/caps
echo a.txt
""")
    os.mkdir(told)
    os.chmod(tree.root, 0o777)
    os.chmod(told, 0o777)
    tree.references.append(f'references list {{ type = command  command = "sh {script}" }}')
    tree.write_conf()
    tree.mount()
    tree.write("a.txt")
    mgc.wait_for(lambda: os.path.exists(f"{told}/caps"), 20, "a scheduled run")
    with open(f"{told}/caps", encoding="utf-8") as f:
        assert dict(line.split() for line in f) == {
            "Uid:": str(mgc.WWW), "CapPrm:": "0" * 16, "CapEff:": "0" * 16}


def test_a_daemon_started_without_standard_descriptors(make):
    """The source would be opened as descriptor 0, which the background gives to /dev/null."""
    tree = make()
    os.makedirs(tree.catalog)
    done = subprocess.run(["/bin/sh", "-c", f"exec {mgc.DAEMON} -c {tree.conf} <&- >&- 2>&-"],
                          timeout=60)
    assert done.returncode == 0, tree.daemon_log()
    tree.pids.append(tree.status()["pid"])
    tree.write("d/a.txt", b"a")
    tree.rows("scan")
    assert tree.files() == {"d/a.txt": b"a"}
    assert tree.status()["entries"] == 1


def test_the_daemon_links_no_database_client():
    linked = subprocess.run(["ldd", mgc.DAEMON], check=True, capture_output=True, text=True).stdout
    assert "libpq" not in linked and "libsqlite3" in linked


def test_an_open_writer_makes_a_file_open_not_a_candidate(make):
    tree = make()
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.write("kept.txt")
    tree.write("orphan.txt")
    tree.write("growing.txt")
    tree.verified()
    with open(tree.path("growing.txt"), "ab"):
        run = tree.reconcile("--apply")
    assert (run["open"], run["candidates"], run["moved"]) == (1, 1, 1), run
    run = tree.reconcile("--apply")
    assert (run["open"], run["moved"]) == (0, 1), run
    assert tree.files() == {"kept.txt": b"x"}


def test_the_log_is_readable_by_the_reconcilers_group(tree):
    tree.rows("hold", "--for", "1h")
    mgc.as_user(mgc.WWW, lambda: open(os.path.join(tree.catalog, "events.jsonl"), "rb").close())
