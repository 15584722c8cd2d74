/*
 * cli_priv.h -- what the sub-commands share: options, the connection to the daemon, output.
 *
 * Exit statuses (DESIGN 9): 0 done, 1 failed, 2 usage, 3 refused by a safety rule, 4 done in part.
 */
#ifndef MEDIAGCFS_CLI_PRIV_H
#define MEDIAGCFS_CLI_PRIV_H

#include <jansson.h>

#include "mediagcfs/catalog.h"
#include "mediagcfs/conf.h"
#include "mediagcfs/control.h"
#include "mediagcfs/run.h"
#include "mediagcfs/service.h"

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_PART };

struct mgc_cli {
    const char *program;   /* path of this program, for messages and for finding mediagcfsd */
    const char *conf_path; /* as given or found */
    bool conf_missing;     /* the default file does not exist: defaults are in force */
    struct mgc_conf *conf;
    bool json;
    bool offline;
    const char *approve; /* digest an operator approves, or NULL */
    bool quiet;          /* no progress: started by the schedule */
    /* One of these two, after mgc_cli_open(). */
    struct mgc_client *client;
    struct mgc_service *service;
    struct mgc_catalog *catalog; /* read-only handle, or the service's */
    int root_fd;                 /* offline: the source */
    struct mgc_source **sources;
    size_t sources_count;
    struct mgc_run_host host;
};

struct mgc_command {
    const char *name;
    int (*run)(struct mgc_cli *cli, int argc, char **argv); /* returns an exit status */
    const char *usage;                                      /* arguments */
    const char *summary;                                    /* one line */
    const char *help; /* options and what to know, lines of at most 80 columns */
};
extern const struct mgc_command mgc_commands[];
extern const size_t mgc_commands_count;

/* ---- options.c ---- */
struct mgc_option {
    const char *name;   /* "apply" for --apply */
    bool *flag;         /* set to true; or */
    const char **value; /* takes a value */
};
/*
 * Parses argv[1..]: options anywhere, "--" ends them; --json and --offline are understood by all.
 * Fills `positional` (at most max).  Returns their number, or a negative code after saying on
 * stderr what is wrong (the argument, not the whole help).
 */
MGC_MUST_CHECK int mgc_cli_options(struct mgc_cli *cli, int argc, char **argv,
                                   const struct mgc_option *options, size_t options_count,
                                   const char **positional, size_t max);
/* The id of a held file, or 0 when the text is no plain number (then it is a path). */
int64_t mgc_cli_id(const char *text);
/* A path from the media root, of one that is absolute beneath source or mount point, or "./12". */
const char *mgc_cli_path(const struct mgc_conf *conf, const char *given);
MGC_MUST_CHECK int mgc_cli_check_path(const struct mgc_conf *conf, const char *path,
                                      struct mgc_err *err);
/* MGC_E_USAGE when something is held from a path that reads like this id: nobody should guess. */
MGC_MUST_CHECK int mgc_cli_unambiguous(struct mgc_cli *cli, int64_t id, struct mgc_err *err);
/* Says `err` on stderr, with its hint; returns the exit status for its code. */
int mgc_cli_fail(const struct mgc_err *err);
int mgc_cli_usage(const char *format, ...) MGC_PRINTF(1, 2);

/* ---- connect.c ---- */
/* Connects to the daemon or opens the tree offline; the catalog is readable after that, and
 * everything the mount answered before is in it. */
MGC_MUST_CHECK int mgc_cli_open(struct mgc_cli *cli, struct mgc_err *err);
/* One request; takes the reference. */
MGC_MUST_CHECK int mgc_cli_call(struct mgc_cli *cli, json_t *request, json_t **ret_ok,
                                struct mgc_err *err);
/*
 * Makes and starts all sources, connects, and gives up root's privileges (not offline).
 * as_operator: the connection keeps the rights of who started us; else it has those of the user.
 */
MGC_MUST_CHECK int mgc_cli_open_sources(struct mgc_cli *cli, bool as_operator, struct mgc_err *err);
/* Gives up root's privileges for those of the user who reads the databases, with their HOME. */
MGC_MUST_CHECK int mgc_cli_become(uid_t uid, gid_t gid, struct mgc_err *err);
void mgc_cli_close(struct mgc_cli *cli);
/* Path of the control socket; out needs MGC_PATH_BYTES_MAX + 1 bytes.  Returns out. */
const char *mgc_cli_socket(const struct mgc_conf *conf, char *out, size_t out_bytes);

/* ---- host.c ---- */
/* Fills cli->host: what a run asks of the daemon, over mgc_cli_call(). */
void mgc_cli_host(struct mgc_cli *cli);

/* ---- output.c ---- */
/* "2026-03-01T12:00:00Z" or "-" for 0. */
const char *mgc_cli_time(char *out, size_t out_bytes, int64_t time_us);
json_t *mgc_cli_time_json(int64_t time_us); /* null for 0 */
/* Members of an answer; 0 or "" when absent. */
int64_t mgc_cli_number(const json_t *object, const char *key);
const char *mgc_cli_text(const json_t *object, const char *key);
/* Prints one object with "v":1 as a line on stdout; takes the reference. */
void mgc_cli_print(json_t *object);
/* "12.3 MiB". */
const char *mgc_cli_bytes(char *out, size_t out_bytes, int64_t bytes);
/* A line on stderr that replaces itself; only on a terminal. */
void mgc_cli_progress(void *arg, const char *phase, int64_t done, int64_t total);
void mgc_cli_progress_end(void);

/* ---- one function per sub-command, in cli_<name>.c ---- */
int mgc_cmd_mount(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_unmount(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_status(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_scan(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_reconcile(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_orphans(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_missing(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_suspects(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_explain(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_quarantine(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_purge(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_hold(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_resume(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_log(struct mgc_cli *cli, int argc, char **argv);
int mgc_cmd_config(struct mgc_cli *cli, int argc, char **argv);

#endif
