/* site.h -- a media tree on a real filesystem with a real catalog and a quarantine, for tests. */
#ifndef MEDIAGCFS_TESTS_UNIT_QUARANTINE_SITE_H
#define MEDIAGCFS_TESTS_UNIT_QUARANTINE_SITE_H

#include "fs/quarantine/quarantine_priv.h"

#define SITE_HOUR (INT64_C(3600) * 1000000)

struct site {
    char base[64]; /* in memory: tree/ and catalog/ */
    int tree_fd;
    struct mgc_os os; /* the real kernel, with the hooks below in front */
    struct mgc_home home;
    struct mgc_catalog *catalog;
    struct mgc_pathlocks *locks;
    struct mgc_quarantine *q;
    int lease_fd;                /* the descriptor leased last */
    void (*before_rename)(void); /* called once, before the first rename into or out of a slot */
    bool no_xattr;
    int events[MGC_EVENT_COUNT];
    char reason[128]; /* of the last event */
    int64_t ahead_us; /* added to the clock */
};
extern struct site S;

int site_setup(void **state);
int site_teardown(void **state);
/* Closes and opens everything again; lose: without the catalog. */
struct mgc_recover_result site_restart(bool lose);

/* Makes it in the tree and tells the catalog. */
void site_mkdir(const char *path);
void site_file(const char *path, const char *content);
void site_symlink(const char *path, const char *target);
void site_rename_dir(const char *from, const char *to);
/* What the tree says: the content of a file or link, or NULL when there is none. */
const char *site_read(const char *path);
bool site_exists(const char *path);
struct mgc_candidate site_candidate(const char *path); /* horizon: now */
/* Moves one; returns its code. */
int site_move(const char *path, int64_t *ret_id);
int site_purge(int64_t id, int64_t first_us, int64_t second_us, bool now);
int64_t site_now_us(void);
int site_slots(void); /* names in the quarantine */

#endif
