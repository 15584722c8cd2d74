/*
 * machine.h -- a machine that exists in memory only: kernel, catalog and clock behind the tables
 * that mediagcfs uses, with faults at any step.
 *
 * Every call to the kernel table, the catalog and the manifest is a step.  At step `fault_at` the
 * machine
 *
 *   STOP   stops: this call and all later ones do nothing and fail (a killed process)
 *   FAIL   fails this one call without doing it
 *   LIE    does it and says that it failed
 *   ACT    calls `act` first: the application does something at exactly this moment
 *
 * machine_restart() starts again; with `forget` set it is a power cut: any subset of the directory
 * changes that were not synced on both sides is undone.  `torn` undoes the unsynced half of a
 * rename of which the other half was synced: weaker than any filesystem promises.
 */
#ifndef MEDIAGCFS_TESTS_SIM_MACHINE_H
#define MEDIAGCFS_TESTS_SIM_MACHINE_H

#include "fs/quarantine/quarantine_priv.h"

enum machine_mode { MACHINE_NONE, MACHINE_STOP, MACHINE_FAIL, MACHINE_LIE, MACHINE_ACT };
enum {
    MACHINE_NODES_MAX = 4096,
    MACHINE_ENTRIES_MAX = 256, /* names in one directory */
    MACHINE_CHANGES_MAX = 1024,
    MACHINE_HELD_MAX = 512,
    MACHINE_FILES_MAX = 1024,
    MACHINE_FDS_MAX = 1024,
};
#define MACHINE_T0 INT64_C(1700000000000000)
#define MACHINE_HOUR (INT64_C(3600) * 1000000)

struct node {
    uint32_t mode; /* with the type */
    uint32_t uid, gid, nlink;
    int64_t birth_ns, mtime_us, ctime_us, size_bytes;
    int64_t content; /* a number that stands for the bytes; 0 for a directory */
    int writers;
    bool leased;
    bool dead; /* a directory that was removed: takes no names */
    char key[48], value[4600];
    size_t value_bytes;
    struct {
        char name[64];
        int node;
    } * entry; /* of a directory */
    int entry_count;
};
struct change {
    enum { CHANGED_RENAME, CHANGED_ADD, CHANGED_REMOVE } kind;
    int node, from, to; /* directories; -1: none */
    char from_name[64], to_name[64];
    bool from_synced, to_synced;
};
struct catalog_entry {
    int64_t id, dir_id, born_us, written_us, changed_us, healed_us;
    char path[128];
    struct mgc_file_id file_id;
    bool live;
};
struct catalog_dir {
    int64_t id, born_us;
    char path[128];
    bool live;
};
struct catalog_held {
    struct mgc_held held;
    char path[128], restore_to[128];
    bool live;
};
enum truth { TRUTH_ALIVE, TRUTH_GONE, TRUTH_MAY_GO }; /* MAY_GO: being purged */
struct machine {
    struct mgc_os os;
    struct mgc_store store;
    struct mgc_home home;
    struct mgc_catalog catalog;
    struct mgc_pathlocks *locks;
    struct mgc_quarantine *q;

    int64_t now_us;
    int step, fault_at;
    enum machine_mode mode;
    void (*act)(void);
    bool stopped, forget, torn;
    bool no_xattr;
    int syncs, mute_sync;   /* the n-th sync_dir since machine_arm() says 0 and does nothing; -1 */
    bool mute_mark;         /* origins are not written */
    void (*on_begun)(void); /* the application acts while a move is being announced */
    void (*on_sync)(void);  /* called before each sync_dir: something slow is about to begin */
    uint64_t seed;

    struct node node[MACHINE_NODES_MAX];
    int nodes, root, private_dir, slots;
    int fd_node[MACHINE_FDS_MAX];
    struct change change[MACHINE_CHANGES_MAX];
    int changes;
    struct mgc_buf manifest;

    struct catalog_entry entry[MACHINE_FILES_MAX];
    struct catalog_dir dir[MACHINE_FILES_MAX];
    struct catalog_held held[MACHINE_HELD_MAX];
    int entries, dirs, helds;
    int64_t next_id;
    struct {
        int64_t content, mtime_us;
        uint32_t mode;
        enum truth state;
    } truth[MACHINE_FILES_MAX];
    int truths;
    bool marks_linger; /* a call failed: an origin may stay on a live file */
    int events[MGC_EVENT_COUNT];
    int news;
};
extern struct machine M;

/* An empty tree with .mediagcfs/slots and a recovered quarantine; no fault. */
void machine_reset(uint64_t seed);
void machine_done(void);
void machine_arm(enum machine_mode mode, int fault_at);
/* Stops what runs, undoes unsynced changes when `forget` is set, recovers; asserts that recovering
 * works and that doing it again changes nothing.  Returns what the first recovery did. */
struct mgc_recover_result machine_restart(void);
uint64_t machine_random(uint64_t below);

/* ---- the application; durable at once, recorded in the catalog at once ---- */
/* From now on the content may be deleted by us (a purge has been asked for). */
void machine_may_go(int64_t content);
int app_mkdir(const char *path);
int app_create(const char *path, int64_t content); /* -EEXIST, -ENOENT */
int app_symlink(const char *path, int64_t content);
int app_unlink(const char *path);
int app_rename(const char *from, const char *to); /* files, replacing; directories, never */
int app_rmdir(const char *path);
int app_write(const char *path, int64_t content); /* waits for a lease, as open() does */

/* Somebody with root puts another file into a slot. */
void stranger_in_slot(int64_t id, int64_t content);

/* ---- looking ---- */
int machine_find(const char *path); /* node, or -1 */
int64_t machine_content(const char *path);
/* How often the content is reachable, in the tree and in the slots; ret_path may be NULL. */
int machine_copies(int64_t content, char *ret_path, size_t path_bytes);
struct mgc_candidate machine_candidate(const char *path);
const struct catalog_held *machine_held_of(const char *path); /* NULL: none */
/* NULL, or what is wrong: names, rows and entries must agree about every content ever made. */
const char *machine_disagreement(void);
/* A number that changes when anything in tree, slots, rows or entries does. */
uint64_t machine_digest(void);

/* ---- between the two files of the machine ---- */
enum gate { GATE_DO, GATE_REFUSE, GATE_DO_AND_REFUSE };
enum gate machine_gate(void);
void machine_catalog_init(void);
void catalog_note_create(const char *path, int node);
void catalog_note_gone(const char *path);
void catalog_note_dir(const char *path, bool gone);
void machine_os_init(void);
struct mgc_file_stat machine_stat_of(int node);

#endif
