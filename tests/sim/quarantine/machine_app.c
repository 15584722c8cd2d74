/* machine_app.c -- the application on the machine, and what must be true at any time. */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

enum { APP_UID = 33 };

static int64_t size_of(int64_t content)
{
    return content * 7 + 1;
}

int machine_find(const char *path)
{
    char name[64];
    int node = M.root;

    while (*path != '\0' && node >= 0) {
        size_t bytes = strcspn(path, "/");
        const struct node *d = &M.node[node];

        assert_true(bytes < sizeof(name));
        memcpy(name, path, bytes);
        name[bytes] = '\0';
        path += bytes + (path[bytes] == '/' ? 1 : 0);
        node = -1;
        for (int i = 0; i < d->entry_count; i++)
            if (strcmp(d->entry[i].name, name) == 0)
                node = d->entry[i].node;
    }
    return node;
}

int64_t machine_content(const char *path)
{
    int node = machine_find(path);

    return node < 0 ? 0 : M.node[node].content;
}

static int parent_of(const char *path)
{
    char dir[128];

    assert_true(snprintf(dir, sizeof(dir), "%s", path) < (int)sizeof(dir));
    dir[mgc_path_dir_bytes(path)] = '\0';
    return machine_find(dir);
}

static void put_name(const char *path, int node)
{
    struct node *d = &M.node[parent_of(path)];

    assert_true(d->entry_count < MACHINE_ENTRIES_MAX);
    assert_true(snprintf(d->entry[d->entry_count].name, sizeof(d->entry[0].name), "%s",
                         mgc_path_leaf(path)) < (int)sizeof(d->entry[0].name));
    d->entry[d->entry_count++].node = node;
    d->mtime_us = d->ctime_us = M.now_us;
}

static void take_name(const char *path)
{
    struct node *d = &M.node[parent_of(path)];

    for (int i = 0; i < d->entry_count; i++)
        if (strcmp(d->entry[i].name, mgc_path_leaf(path)) == 0) {
            d->entry[i] = d->entry[--d->entry_count];
            d->mtime_us = d->ctime_us = M.now_us;
            return;
        }
    fail_msg("no name '%s'", path);
}

static void truth_set(int64_t content, enum truth state)
{
    for (int i = 0; i < M.truths; i++)
        if (M.truth[i].content == content)
            M.truth[i].state = state;
}

static void truth_new(int64_t content, int64_t mtime_us, uint32_t mode)
{
    assert_true(M.truths < MACHINE_FILES_MAX);
    M.truth[M.truths].content = content;
    M.truth[M.truths].mtime_us = mtime_us;
    M.truth[M.truths].mode = mode;
    M.truth[M.truths++].state = TRUTH_ALIVE;
}

void machine_may_go(int64_t content)
{
    truth_set(content, TRUTH_MAY_GO);
}

static int make(const char *path, uint32_t mode, int64_t content)
{
    int node, dir = parent_of(path);

    M.now_us += 10;
    if (dir < 0 || !S_ISDIR(M.node[dir].mode))
        return -ENOENT;
    if (machine_find(path) >= 0)
        return -EEXIST;
    assert_true(M.nodes < MACHINE_NODES_MAX);
    node = M.nodes++;
    free(M.node[node].entry);
    M.node[node] = (struct node){
        .mode = mode,
        .uid = APP_UID,
        .gid = APP_UID,
        .nlink = 1,
        .birth_ns = M.now_us * 1000 + node,
        .mtime_us = M.now_us,
        .ctime_us = M.now_us,
        .content = content,
        .size_bytes = content == 0 ? 0 : size_of(content),
    };
    if (S_ISDIR(mode))
        M.node[node].entry = calloc(MACHINE_ENTRIES_MAX, sizeof(*M.node[node].entry));
    put_name(path, node);
    if (S_ISDIR(mode))
        catalog_note_dir(path, false);
    else {
        catalog_note_create(path, node);
        truth_new(content, M.now_us, mode);
    }
    return 0;
}

int app_mkdir(const char *path)
{
    return make(path, S_IFDIR | 0755, 0);
}

int app_create(const char *path, int64_t content)
{
    return make(path, S_IFREG | 0640, content);
}

int app_symlink(const char *path, int64_t content)
{
    return make(path, S_IFLNK | 0777, content);
}

int app_unlink(const char *path)
{
    int node = machine_find(path);

    M.now_us += 10;
    if (node < 0)
        return -ENOENT;
    if (S_ISDIR(M.node[node].mode))
        return -EISDIR;
    take_name(path);
    truth_set(M.node[node].content, TRUTH_GONE);
    catalog_note_gone(path);
    return 0;
}

int app_rmdir(const char *path)
{
    int node = machine_find(path);

    M.now_us += 10;
    if (node < 0 || !S_ISDIR(M.node[node].mode))
        return -ENOENT;
    if (M.node[node].entry_count > 0)
        return -ENOTEMPTY;
    take_name(path);
    M.node[node].dead = true;
    catalog_note_dir(path, true);
    /* A directory whose removal is on the disk was empty there: what left it before is, too. */
    for (int i = 0; i < M.changes; i++)
        if (M.change[i].from == node)
            M.change[i].from_synced = true;
    return 0;
}

static void move_paths(const char *from, const char *to)
{
    char rest[128];

    for (int i = 0; i < M.dirs; i++)
        if (M.dir[i].live && mgc_path_beneath(M.dir[i].path, from)) {
            (void)snprintf(rest, sizeof(rest), "%s", M.dir[i].path + strlen(from));
            if (rest[0] == '\0')
                M.dir[i].born_us = M.now_us;
            (void)snprintf(M.dir[i].path, sizeof(M.dir[i].path), "%s%s", to, rest);
        }
    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live && mgc_path_beneath(M.entry[i].path, from)) {
            (void)snprintf(rest, sizeof(rest), "%s", M.entry[i].path + strlen(from));
            (void)snprintf(M.entry[i].path, sizeof(M.entry[i].path), "%s%s", to, rest);
        }
}

int app_rename(const char *from, const char *to)
{
    int node = machine_find(from), over = machine_find(to), dir = parent_of(to);

    M.now_us += 10;
    if (node < 0 || dir < 0 || !S_ISDIR(M.node[dir].mode) || mgc_path_beneath(to, from))
        return -ENOENT;
    if (over >= 0 && (S_ISDIR(M.node[over].mode) || S_ISDIR(M.node[node].mode)))
        return -EEXIST;
    if (over >= 0 && app_unlink(to) < 0)
        return -EIO;
    take_name(from);
    put_name(to, node);
    M.node[node].ctime_us = M.now_us;
    if (S_ISDIR(M.node[node].mode))
        move_paths(from, to);
    else {
        catalog_note_gone(from);
        catalog_note_create(to, node);
    }
    return 0;
}

int app_write(const char *path, int64_t content)
{
    int node = machine_find(path);

    M.now_us += 10;
    if (node < 0)
        return -ENOENT;
    if (!S_ISREG(M.node[node].mode))
        return -EINVAL;
    truth_set(M.node[node].content, TRUTH_GONE);
    M.node[node].content = content;
    M.node[node].size_bytes = size_of(content);
    M.node[node].mtime_us = M.node[node].ctime_us = M.now_us;
    truth_new(content, M.now_us, M.node[node].mode);
    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live && strcmp(M.entry[i].path, path) == 0)
            M.entry[i].written_us = M.entry[i].changed_us = M.now_us;
    return 0;
}

void stranger_in_slot(int64_t id, int64_t content)
{
    char path[64];
    int node;

    (void)snprintf(path, sizeof(path), ".mediagcfs/slots/%lld", (long long)id);
    node = machine_find(path);
    if (node < 0)
        return;
    truth_set(M.node[node].content, TRUTH_GONE);
    take_name(path);
    assert_int_equal(make(path, S_IFREG | 0640, content), 0);
    catalog_note_gone(path);
}

/* ---- looking ---- */

static int count_copies(int dir, const char *prefix, int64_t content, char *ret_path, size_t bytes)
{
    const struct node *d = &M.node[dir];
    int copies = 0;

    for (int i = 0; i < d->entry_count; i++) {
        const struct node *n = &M.node[d->entry[i].node];
        char path[256];

        assert_int_equal(mgc_path_join(path, sizeof(path), prefix, d->entry[i].name), 0);
        if (S_ISDIR(n->mode))
            copies += count_copies(d->entry[i].node, path, content, ret_path, bytes);
        else if (n->content == content) {
            copies++;
            if (ret_path != NULL)
                (void)snprintf(ret_path, bytes, "%s", path);
        }
    }
    return copies;
}

int machine_copies(int64_t content, char *ret_path, size_t path_bytes)
{
    return count_copies(M.root, "", content, ret_path, path_bytes);
}

struct mgc_candidate machine_candidate(const char *path)
{
    struct mgc_candidate c = {.path = path, .horizon_us = M.now_us};
    int node = machine_find(path);

    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live && strcmp(M.entry[i].path, path) == 0)
            c.entry_id = M.entry[i].id;
    if (node >= 0)
        c.id = machine_stat_of(node).id;
    return c;
}

const struct catalog_held *machine_held_of(const char *path)
{
    for (int i = 0; i < M.helds; i++)
        if (strcmp(M.held[i].path, path) == 0)
            return &M.held[i];
    return NULL;
}

static char complaint[512];

static const char *complain(const char *what, const char *path, int64_t content)
{
    (void)snprintf(complaint, sizeof(complaint), "%s: '%s' (content %lld)", what, path,
                   (long long)content);
    return complaint;
}

static const char *check_rows(void)
{
    const struct node *slots = &M.node[M.slots];

    for (int i = 0; i < M.helds; i++) {
        const struct mgc_held *held = &M.held[i].held;
        char slot[128];
        int node;

        (void)snprintf(slot, sizeof(slot), ".mediagcfs/slots/%lld", (long long)held->id);
        node = machine_find(slot);
        if (held->state != MGC_HELD_HELD)
            return complain("a row is not settled", held->path, held->id);
        if (node < 0)
            return complain("a held file has no slot", held->path, held->id);
        struct mgc_file_stat stat = machine_stat_of(node);

        if (!mgc_file_id_equal(&stat.id, &held->stat.id))
            return complain("a slot holds another file", held->path, held->id);
    }
    if (slots->entry_count != M.helds)
        return complain("a slot has no row", "", slots->entry_count);
    return NULL;
}

static bool has_entry(const char *path, int node)
{
    struct mgc_file_stat stat = machine_stat_of(node);

    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live && strcmp(M.entry[i].path, path) == 0 &&
            mgc_file_id_equal(&M.entry[i].file_id, &stat.id))
            return true;
    return false;
}

const char *machine_disagreement(void)
{
    char path[256] = "";

    for (int i = 0; i < M.truths; i++) {
        int64_t content = M.truth[i].content;
        int copies = machine_copies(content, path, sizeof(path)), node;

        if (copies > 1)
            return complain("more than one copy", path, content);
        if (copies == 0 && M.truth[i].state == TRUTH_ALIVE)
            return complain("lost", "", content);
        if (copies == 1 && M.truth[i].state == TRUTH_GONE)
            return complain("came back from the dead", path, content);
        if (copies == 0)
            continue;
        node = machine_find(path);
        if (M.node[node].size_bytes != size_of(content) || M.node[node].uid != APP_UID ||
            M.node[node].gid != APP_UID || M.node[node].mode != M.truth[i].mode ||
            M.node[node].mtime_us != M.truth[i].mtime_us)
            return complain("not whole", path, content);
        if (mgc_path_beneath(path, ".mediagcfs/slots"))
            continue;
        if (mgc_path_is_private(path))
            return complain("neither in the tree nor in a slot", path, content);
        if (!has_entry(path, node))
            return complain("in the tree without an entry", path, content);
        if (M.node[node].value_bytes > 0 && !M.marks_linger)
            return complain("in the tree with an origin", path, content);
    }
    return check_rows();
}

static void mix(uint64_t *h, const void *data, size_t bytes)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < bytes; i++)
        *h = (*h ^ p[i]) * UINT64_C(0x100000001b3);
}

uint64_t machine_digest(void)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (int i = 0; i < M.nodes; i++) {
        const struct node *n = &M.node[i];

        mix(&h, &n->content, sizeof(n->content));
        mix(&h, &n->mtime_us, sizeof(n->mtime_us));
        mix(&h, n->value, n->value_bytes);
        for (int k = 0; k < n->entry_count; k++) {
            mix(&h, n->entry[k].name, strlen(n->entry[k].name));
            mix(&h, &n->entry[k].node, sizeof(n->entry[k].node));
        }
    }
    for (int i = 0; i < M.helds; i++) {
        mix(&h, &M.held[i].held.id, sizeof(int64_t));
        mix(&h, &M.held[i].held.state, sizeof(enum mgc_held_state));
        mix(&h, &M.held[i].held.held_us, sizeof(int64_t));
        mix(&h, M.held[i].path, strlen(M.held[i].path));
    }
    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live)
            mix(&h, &M.entry[i].id, sizeof(int64_t));
    return h;
}
