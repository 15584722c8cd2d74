/*
 * conf.h -- the configuration file: every block and key of the manual, parsed and range-checked.
 *
 * Role     Turns a file into a struct whose values are all valid, or into one message with file
 *          and line.  Nothing starts on a bad file.
 * Layer    1.  Uses libconfuse.
 * Owns     struct mgc_conf owns its strings until mgc_conf_free().
 * Threads  Read-only after loading.
 * Units    *_us durations, *_bytes sizes, *_share parts of 1.0.  OFF is MGC_CONF_OFF.
 * Errors   MGC_E_CONFIG: "/etc/x.conf:12: unknown key 'scource' in 'filesystem'" with a hint.
 */
#ifndef MEDIAGCFS_CONF_H
#define MEDIAGCFS_CONF_H

#include "mediagcfs/error.h"

/* Value of a schedule, wait or limit that is switched off. */
#define MGC_CONF_OFF INT64_C(-1)
/* Value of reconcile.every = feed. */
#define MGC_CONF_FEED INT64_C(-2)
/* Value of a size left to us: `auto`. */
#define MGC_CONF_AUTO INT64_C(-3)

enum mgc_conf_switch { MGC_SWITCH_OFF, MGC_SWITCH_ON, MGC_SWITCH_AUTO };
enum mgc_conf_mode { MGC_MODE_SHADOW, MGC_MODE_APPLY };
enum mgc_conf_type { MGC_TYPE_POSTGRESQL, MGC_TYPE_SQLITE, MGC_TYPE_COMMAND };
enum mgc_conf_scan { MGC_SCAN_EVERYTHING, MGC_SCAN_COLUMNS };
enum mgc_conf_heal { MGC_HEAL_RESTORE, MGC_HEAL_SERVE, MGC_HEAL_REPORT, MGC_HEAL_OFF };

struct mgc_conf_list {
    char **items; /* NULL-terminated too */
    size_t count;
};

struct mgc_conf_references {
    char *name;
    enum mgc_conf_type type;
    char *conninfo; /* postgresql; "" leaves everything to libpq's environment */
    char *database; /* sqlite: absolute path */
    char *command;  /* command: run by bash -e -o pipefail -c, or sh -e -c */
    bool format_nul;
    enum mgc_conf_scan scan;
    struct mgc_conf_list columns; /* "table.column" or "schema.table.column" */
    struct mgc_conf_list query;   /* each yields one column of paths or text */
    struct mgc_conf_list ignore;  /* tables, "schema.table" or "table" */
    bool binary;
    bool large_objects;
    int64_t timeout_us;
    int64_t jobs;
    int line; /* where the block begins */
};

struct mgc_conf_derived {
    char *name;
    char *child, *parent, *scheme; /* NULL when not given */
};

struct mgc_conf {
    char *file; /* path it came from, absolute */
    char *name; /* file name without directory and ".conf" */
    struct {
        char *source, *mountpoint; /* absolute, without trailing slash */
        bool allow_other;
        enum mgc_conf_switch passthrough, io_uring, xattr;
        int64_t cache_for_us;
    } filesystem;
    struct {
        char *directory;
        int64_t commit_every_us, open_resolution_us;
        struct mgc_conf_list uncounted;
        char *group; /* NULL: none */
    } catalog;
    struct mgc_conf_references *references;
    size_t references_count;
    struct mgc_conf_list keep; /* patterns */
    struct mgc_conf_derived *derived;
    size_t derived_count;
    struct {
        enum mgc_conf_mode mode;
        int64_t every_us; /* OFF or FEED allowed */
        int64_t grace_us, confirmations, confirm_over_us, hot_for_us;
        int64_t max_files;                         /* OFF allowed */
        int64_t max_bytes;                         /* OFF allowed */
        double max_share, max_fall, control_share; /* negative: off */
        int64_t fence_for_us;
        int64_t memory_bytes; /* AUTO allowed */
        char *user;           /* NULL: the tree's owner */
        int64_t settle_us;
    } reconcile;
    struct {
        int64_t retention_us, min_retention_us;
        int64_t max_bytes; /* OFF allowed */
        bool keep_deleted;
        int64_t deleted_retention_us, temporary_for_us;
        double low_space_share;
        enum mgc_conf_heal heal;
    } quarantine;
    struct {
        enum mgc_conf_mode mode;
        int64_t every_us; /* OFF allowed */
        int64_t rate;     /* files a second; OFF */
    } purge;
    struct {
        char *listen, *secret, *prefix, *textfile; /* NULL when not given */
        bool read_only;
        bool given;
    } web;
    struct {
        char *file; /* absolute */
        enum mgc_conf_log { MGC_CONF_ERROR, MGC_CONF_WARNING, MGC_CONF_INFO, MGC_CONF_DEBUG } level;
    } log;
    struct mgc_conf_list notices; /* "key 'x' has no effect yet", "zero duration ...": said once */
};

/* Reads a file.  On success *ret_conf is the caller's. */
MGC_MUST_CHECK int mgc_conf_load(const char *path, struct mgc_conf **ret_conf, struct mgc_err *err);
/*
 * A configuration from defaults plus source and mountpoint (`mount SOURCE [MOUNTPOINT]`), both
 * absolute; mountpoint NULL: in place.  "/" for both stands for "nothing to mount": a command that
 * needs no tree.  file is "".
 */
MGC_MUST_CHECK int mgc_conf_default(const char *name, const char *source, const char *mountpoint,
                                    struct mgc_conf **ret_conf, struct mgc_err *err);
/* Another tree than the file's, from the command line; checked as if it stood there. */
MGC_MUST_CHECK int mgc_conf_mount_at(struct mgc_conf *conf, const char *source,
                                     const char *mountpoint, struct mgc_err *err);
/*
 * MGC_E_CONFIG when catalog or log lie beneath source or mount point once links are resolved, which
 * loading cannot tell.  Looks at the filesystem.
 */
MGC_MUST_CHECK int mgc_conf_places(const struct mgc_conf *conf, struct mgc_err *err);
void mgc_conf_free(struct mgc_conf *conf);

/* "90s", "30d", "200ms", "0"; -EINVAL for anything else, -ERANGE above 100 years. */
MGC_MUST_CHECK int mgc_conf_duration(const char *text, int64_t *ret_us);
/* "64K", "10G", "123"; powers of 1024. */
MGC_MUST_CHECK int mgc_conf_size(const char *text, int64_t *ret_bytes);
/* "10%" or "0.1". */
MGC_MUST_CHECK int mgc_conf_share(const char *text, double *ret_share);

#endif
