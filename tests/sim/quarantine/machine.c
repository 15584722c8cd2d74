/* machine.c -- the kernel in memory, the application, and what must be true (machine.h). */
#include "machine.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

struct machine M;

uint64_t machine_random(uint64_t below)
{
    M.seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = M.seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return below == 0 ? z : z % below;
}

enum gate machine_gate(void)
{
    int at = M.step++;

    M.now_us += 10;
    if (M.stopped)
        return GATE_REFUSE;
    if (at != M.fault_at)
        return GATE_DO;
    switch (M.mode) {
    case MACHINE_STOP:
        M.stopped = true;
        return GATE_REFUSE;
    case MACHINE_FAIL:
        M.marks_linger = true; /* removing an origin is not retried for ever */
        return GATE_REFUSE;
    case MACHINE_LIE:
        M.marks_linger = true;
        return GATE_DO_AND_REFUSE;
    case MACHINE_ACT:
        M.marks_linger = true; /* a file renamed at the wrong moment keeps a record of no effect */
        M.act();
        return GATE_DO;
    case MACHINE_NONE:
        break;
    }
    return GATE_DO;
}

/* ---- nodes ---- */

static void text_copy(char *to, size_t bytes, const char *from)
{
    assert_true(snprintf(to, bytes, "%s", from) < (int)bytes);
}

static int node_new(uint32_t mode, uint32_t uid)
{
    struct node *n = &M.node[M.nodes];

    assert_true(M.nodes < MACHINE_NODES_MAX);
    free(n->entry);
    *n = (struct node){
        .mode = mode,
        .uid = uid,
        .gid = uid,
        .nlink = 1,
        .birth_ns = M.now_us * 1000 + M.nodes,
        .mtime_us = M.now_us,
        .ctime_us = M.now_us,
    };
    if (S_ISDIR(mode))
        n->entry = calloc(MACHINE_ENTRIES_MAX, sizeof(*n->entry));
    return M.nodes++;
}

static int child(int dir, const char *name)
{
    const struct node *d = &M.node[dir];

    for (int i = 0; i < d->entry_count; i++)
        if (strcmp(d->entry[i].name, name) == 0)
            return d->entry[i].node;
    return -1;
}

static void add_name(int dir, const char *name, int node)
{
    struct node *d = &M.node[dir];

    assert_true(d->entry_count < MACHINE_ENTRIES_MAX);
    assert_int_equal(child(dir, name), -1);
    text_copy(d->entry[d->entry_count].name, sizeof(d->entry[0].name), name);
    d->entry[d->entry_count++].node = node;
    d->mtime_us = d->ctime_us = M.now_us;
}

static void remove_name(int dir, const char *name)
{
    struct node *d = &M.node[dir];

    for (int i = 0; i < d->entry_count; i++)
        if (strcmp(d->entry[i].name, name) == 0) {
            d->entry[i] = d->entry[--d->entry_count];
            d->mtime_us = d->ctime_us = M.now_us;
            return;
        }
    fail_msg("no name '%s'", name);
}

static struct change *new_change(void)
{
    assert_true(M.changes < MACHINE_CHANGES_MAX);
    M.change[M.changes] = (struct change){.from = -1, .to = -1};
    return &M.change[M.changes++];
}

struct mgc_file_stat machine_stat_of(int node)
{
    const struct node *n = &M.node[node];

    return (struct mgc_file_stat){
        .id = {.ino = (uint64_t)node + 1, .stamp = n->birth_ns, .kind = MGC_ID_BIRTH},
        .dev = 7,
        .mode = n->mode,
        .uid = n->uid,
        .gid = n->gid,
        .nlink = n->nlink,
        .size_bytes = n->size_bytes,
        .mtime_us = n->mtime_us,
        .ctime_us = n->ctime_us,
    };
}

/* ---- the kernel table ---- */

#define GATE()                                                                                     \
    enum gate gate = machine_gate();                                                               \
    (void)os;                                                                                      \
    if (gate == GATE_REFUSE)                                                                       \
    return -EIO
#define ANSWER() return gate == GATE_DO ? 0 : -EIO

static int os_stat(struct mgc_os *os, int dir_fd, const char *name, struct mgc_file_stat *ret)
{
    int node;

    GATE();
    node = name[0] == '\0' ? M.fd_node[dir_fd] : child(M.fd_node[dir_fd], name);
    if (gate != GATE_DO)
        return -EIO;
    if (node < 0)
        return -ENOENT;
    *ret = machine_stat_of(node);
    return 0;
}

static int walk(int from, const char *path)
{
    char name[64];
    int node = from;

    while (*path != '\0' && node >= 0) {
        size_t bytes = strcspn(path, "/");

        assert_true(bytes < sizeof(name));
        memcpy(name, path, bytes);
        name[bytes] = '\0';
        if (!S_ISDIR(M.node[node].mode))
            return -1;
        node = child(node, name);
        path += bytes + (path[bytes] == '/' ? 1 : 0);
    }
    return node;
}

/* A real descriptor, since the code under test closes it. */
static int fd_for(int node)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_in_range(fd, 0, MACHINE_FDS_MAX - 1);
    M.fd_node[fd] = node;
    return fd;
}

static int os_open_dir(struct mgc_os *os, int root_fd, const char *path)
{
    int node;

    GATE();
    node = walk(M.fd_node[root_fd], path);
    if (gate != GATE_DO)
        return -EIO;
    if (node < 0)
        return -ENOENT;
    return S_ISDIR(M.node[node].mode) ? fd_for(node) : -ENOTDIR;
}

static int os_open_file(struct mgc_os *os, int dir_fd, const char *name)
{
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (gate != GATE_DO)
        return -EIO;
    if (node < 0)
        return -ENOENT;
    return S_ISREG(M.node[node].mode) ? fd_for(node) : -ELOOP;
}

static int os_lease_read(struct mgc_os *os, int fd)
{
    struct node *n = &M.node[M.fd_node[fd]];

    GATE();
    if (n->writers > 0)
        return -EAGAIN;
    n->leased = true;
    ANSWER();
}

static void os_lease_drop(struct mgc_os *os, int fd)
{
    (void)os;
    M.node[M.fd_node[fd]].leased = false;
}

static int os_rename_new(struct mgc_os *os, int from_fd, const char *from, int to_fd,
                         const char *to)
{
    int from_dir = M.fd_node[from_fd], to_dir = M.fd_node[to_fd], node;
    struct change *c;

    GATE();
    node = child(from_dir, from);
    if (node < 0)
        return -ENOENT;
    if (M.node[to_dir].dead)
        return -ENOENT;
    if (child(to_dir, to) >= 0)
        return -EEXIST;
    remove_name(from_dir, from);
    add_name(to_dir, to, node);
    M.node[node].ctime_us = M.now_us;
    c = new_change();
    *c = (struct change){.kind = CHANGED_RENAME, .node = node, .from = from_dir, .to = to_dir};
    text_copy(c->from_name, sizeof(c->from_name), from);
    text_copy(c->to_name, sizeof(c->to_name), to);
    ANSWER();
}

static int os_mkdir(struct mgc_os *os, int dir_fd, const char *name, uint32_t mode)
{
    struct change *c;

    GATE();
    if (M.node[M.fd_node[dir_fd]].dead)
        return -ENOENT;
    if (child(M.fd_node[dir_fd], name) >= 0)
        return -EEXIST;
    c = new_change();
    c->kind = CHANGED_ADD;
    c->node = node_new(S_IFDIR | mode, 0);
    c->to = M.fd_node[dir_fd];
    c->from_synced = true;
    text_copy(c->to_name, sizeof(c->to_name), name);
    add_name(c->to, name, c->node);
    ANSWER();
}

static int os_chown(struct mgc_os *os, int dir_fd, const char *name, uint32_t uid, uint32_t gid)
{
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (node < 0)
        return -ENOENT;
    M.node[node].uid = uid;
    M.node[node].gid = gid;
    ANSWER();
}

static int drop_name(int dir, const char *name)
{
    struct change *c = new_change();

    c->kind = CHANGED_REMOVE;
    c->node = child(dir, name);
    c->from = dir;
    c->to_synced = true;
    text_copy(c->from_name, sizeof(c->from_name), name);
    remove_name(dir, name);
    return 0;
}

static int os_unlink(struct mgc_os *os, int dir_fd, const char *name)
{
    GATE();
    if (child(M.fd_node[dir_fd], name) < 0)
        return -ENOENT;
    (void)drop_name(M.fd_node[dir_fd], name);
    ANSWER();
}

static int os_rmdir(struct mgc_os *os, int dir_fd, const char *name)
{
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (node < 0)
        return -ENOENT;
    if (M.node[node].entry_count > 0)
        return -ENOTEMPTY;
    (void)drop_name(M.fd_node[dir_fd], name);
    M.node[node].dead = true;
    ANSWER();
}

static int os_set_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key,
                        const void *value, size_t bytes)
{
    struct node *n;
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (node < 0)
        return -ENOENT;
    n = &M.node[node];
    if (M.no_xattr || S_ISLNK(n->mode))
        return -EOPNOTSUPP;
    if (bytes > sizeof(n->value))
        return -ENOSPC;
    if (!M.mute_mark || S_ISDIR(n->mode)) {
        text_copy(n->key, sizeof(n->key), key);
        memcpy(n->value, value, bytes);
        n->value_bytes = bytes;
    }
    n->ctime_us = M.now_us;
    ANSWER();
}

static int os_get_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key, void *out,
                        size_t out_bytes)
{
    const struct node *n;
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (node < 0)
        return -ENOENT;
    n = &M.node[node];
    if (gate != GATE_DO)
        return -EIO;
    if (n->value_bytes == 0 || strcmp(n->key, key) != 0)
        return -ENODATA;
    if (n->value_bytes > out_bytes)
        return -ERANGE;
    memcpy(out, n->value, n->value_bytes);
    return (int)n->value_bytes;
}

static int os_remove_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key)
{
    struct node *n;
    int node;

    GATE();
    node = child(M.fd_node[dir_fd], name);
    if (node < 0)
        return -ENOENT;
    n = &M.node[node];
    if (n->value_bytes == 0 || strcmp(n->key, key) != 0)
        return -ENODATA;
    n->value_bytes = 0;
    n->ctime_us = M.now_us;
    ANSWER();
}

static int os_sync_dir(struct mgc_os *os, int dir_fd)
{
    int dir = M.fd_node[dir_fd], n;

    if (M.on_sync != NULL)
        M.on_sync();
    GATE();
    n = M.syncs++;
    for (int i = 0; n != M.mute_sync && i < M.changes; i++) {
        if (M.change[i].from == dir)
            M.change[i].from_synced = true;
        if (M.change[i].to == dir)
            M.change[i].to_synced = true;
    }
    ANSWER();
}

static int64_t os_now_us(struct mgc_os *os)
{
    (void)os;
    return M.now_us;
}

static int store_list(struct mgc_store *s, int dir_fd, int (*each)(void *arg, const char *name),
                      void *arg)
{
    const struct node *d = &M.node[M.fd_node[dir_fd]];
    int r = 0;

    (void)s;
    if (machine_gate() != GATE_DO)
        return -EIO;
    for (int i = 0; r == 0 && i < d->entry_count; i++)
        r = each(arg, d->entry[i].name);
    return r;
}

static int store_append(struct mgc_store *s, int home_fd, const void *data, size_t bytes)
{
    enum gate gate = machine_gate();

    (void)s, (void)home_fd;
    if (gate == GATE_REFUSE) {
        /* A write cut short leaves a torn record behind. */
        mgc_buf_addc(&M.manifest, '\n');
        mgc_buf_add(&M.manifest, data, bytes / 2);
        return -EIO;
    }
    mgc_buf_addc(&M.manifest, '\n');
    if (!M.mute_mark)
        mgc_buf_add(&M.manifest, data, bytes);
    ANSWER();
}

static int store_read(struct mgc_store *s, int home_fd, struct mgc_buf *out)
{
    (void)s, (void)home_fd;
    if (machine_gate() != GATE_DO)
        return -EIO;
    if (M.manifest.bytes > 0)
        mgc_buf_add(out, M.manifest.data, M.manifest.bytes);
    return 0;
}

static int store_reset(struct mgc_store *s, int home_fd)
{
    enum gate gate = machine_gate();

    (void)s, (void)home_fd;
    if (gate != GATE_REFUSE)
        mgc_buf_clear(&M.manifest);
    ANSWER();
}

/* ---- start, fault, restart ---- */

static void on_event(void *arg, const struct mgc_event *event)
{
    (void)arg;
    M.events[event->kind]++;
}

static void on_change(void *arg, const struct mgc_file_stat *dir, const char *name, bool gone)
{
    (void)arg, (void)gone;
    assert_true(S_ISDIR(dir->mode));
    assert_true(name[0] != '\0');
    M.news++;
}

static void start(void)
{
    struct mgc_quarantine_spec spec = {
        .os = &M.os,
        .catalog = &M.catalog,
        .home = &M.home,
        .locks = M.locks,
        .changed = on_change,
        .event = on_event,
    };

    assert_int_equal(mgc_quarantine_new(&spec, &M.q, NULL), 0);
    M.q->store = &M.store;
}

void machine_arm(enum machine_mode mode, int fault_at)
{
    M.step = 0;
    M.mode = mode;
    M.fault_at = fault_at;
    M.syncs = 0;
}

void machine_reset(uint64_t seed)
{
    static const struct mgc_os os = {
        .stat = os_stat,
        .open_dir = os_open_dir,
        .open_file = os_open_file,
        .lease_read = os_lease_read,
        .lease_drop = os_lease_drop,
        .rename_new = os_rename_new,
        .mkdir = os_mkdir,
        .chown = os_chown,
        .unlink = os_unlink,
        .rmdir = os_rmdir,
        .set_xattr = os_set_xattr,
        .get_xattr = os_get_xattr,
        .remove_xattr = os_remove_xattr,
        .sync_dir = os_sync_dir,
        .now_us = os_now_us,
    };
    struct mgc_recover_result done;

    machine_done();
    M.os = os;
    M.store = (struct mgc_store){
        .list = store_list, .append = store_append, .read = store_read, .reset = store_reset};
    M.seed = seed;
    M.now_us = MACHINE_T0;
    M.mute_sync = -1;
    machine_arm(MACHINE_NONE, -1);
    M.root = node_new(S_IFDIR | 0755, 33);
    M.private_dir = node_new(S_IFDIR | 0700, 0);
    M.slots = node_new(S_IFDIR | 0700, 0);
    add_name(M.root, MGC_PRIVATE_DIR, M.private_dir);
    add_name(M.private_dir, "slots", M.slots);
    M.home = (struct mgc_home){
        .root_fd = fd_for(M.root), .home_fd = fd_for(M.private_dir), .slots_fd = fd_for(M.slots)};
    M.locks = mgc_pathlocks_new();
    assert_non_null(M.locks);
    machine_catalog_init();
    start();
    assert_int_equal(mgc_quarantine_recover(M.q, &done, NULL), 0);
}

void machine_done(void)
{
    if (M.locks == NULL)
        return;
    mgc_quarantine_free(M.q);
    mgc_pathlocks_free(M.locks);
    (void)close(M.home.root_fd);
    (void)close(M.home.home_fd);
    (void)close(M.home.slots_fd);
    mgc_buf_done(&M.manifest);
    for (int i = 0; i < M.nodes; i++)
        free(M.node[i].entry);
    memset(&M, 0, sizeof(M));
}

static void undo(struct change *c)
{
    bool torn_from = M.torn && c->kind == CHANGED_RENAME && c->to_synced && !c->from_synced;
    bool torn_to = M.torn && c->kind == CHANGED_RENAME && c->from_synced && !c->to_synced;
    bool from_free = c->from >= 0 && child(c->from, c->from_name) < 0;
    bool to_ours = c->to >= 0 && child(c->to, c->to_name) == c->node;

    switch (c->kind) {
    case CHANGED_ADD:
        if (to_ours) /* with everything in it */
            remove_name(c->to, c->to_name);
        return;
    case CHANGED_REMOVE:
        if (from_free)
            add_name(c->from, c->from_name, c->node);
        M.node[c->node].dead = !from_free;
        return;
    case CHANGED_RENAME:
        if (!from_free || !to_ours)
            return;
        if (!torn_from)
            remove_name(c->to, c->to_name);
        if (!torn_to)
            add_name(c->from, c->from_name, c->node);
        return;
    }
}

static void power_cut(void)
{
    for (int i = M.changes - 1; i >= 0; i--) {
        struct change *c = &M.change[i];

        if (c->from_synced && c->to_synced)
            continue;
        if (machine_random(2) == 0)
            undo(c);
    }
}

struct mgc_recover_result machine_restart(void)
{
    struct mgc_recover_result first = {0}, again = {0};
    struct mgc_err err = {0};
    uint64_t before;

    machine_arm(MACHINE_NONE, -1);
    M.stopped = false;
    if (M.forget)
        power_cut();
    M.changes = 0;
    for (int i = 0; i < M.nodes; i++)
        M.node[i].leased = false;
    mgc_quarantine_free(M.q);
    start();
    if (mgc_quarantine_recover(M.q, &first, &err) != 0)
        fail_msg("recovery failed: %s", err.text);
    before = machine_digest();
    assert_int_equal(mgc_quarantine_recover(M.q, &again, NULL), 0);
    assert_int_equal(again.alarms, first.alarms);
    again.alarms = 0;
    assert_memory_equal(&again, &(struct mgc_recover_result){0}, sizeof(again));
    assert_true(before == machine_digest());
    return first;
}
