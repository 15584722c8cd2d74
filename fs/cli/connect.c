/*
 * connect.c -- the daemon, or the same service in process without one.
 *
 * Order when started by root: the readers of SQLite sources are forked under their owners' ids,
 * then every privilege goes: what parses application data is never root.  A run connects again
 * after that, so that its connection has no more rights than its process; a purge keeps the
 * operator's, which deleting needs.  Offline there is nobody else to do root's part.
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>

#include "cli_priv.h"
#include "mediagcfs/mountinfo.h"

const char *mgc_cli_socket(const struct mgc_conf *conf, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "%s/control.sock", conf->catalog.directory);
    return out;
}

int mgc_cli_call(struct mgc_cli *cli, json_t *request, json_t **ret_ok, struct mgc_err *err)
{
    const struct mgc_peer self = {
        .uid = geteuid(), .gid = getegid(), .pid = getpid(), .connection = 1};
    json_t *ok = NULL;
    int r;

    if (request == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make a request");
    if (cli->client != NULL)
        return mgc_client_call(cli->client, request, NULL, NULL, ret_ok, err);
    r = mgc_service_handle(cli->service, &self, request, NULL, NULL, &ok, err);
    json_decref(request);
    if (r == 0 && ret_ok != NULL)
        *ret_ok = ok != NULL ? ok : json_object();
    else
        json_decref(ok);
    return r;
}

/* In place, the plain directory is out of reach while it is served. */
static int check_unmounted(const struct mgc_conf *conf, struct mgc_err *err)
{
    const char *source = conf->filesystem.source;
    enum mgc_mount_seen seen = mgc_mount_look(source);

    if (seen == MGC_SEEN_OURS_ALIVE) {
        (void)mgc_err_say(err, MGC_E_BUSY, "'%s' is mounted: --offline needs the plain directory",
                          MGC_SHOW(source));
        (void)mgc_err_hint(err, "Leave --offline out, or stop it with `mediagcfs unmount` first.");
        return MGC_E_BUSY;
    }
    if (seen == MGC_SEEN_OURS_DEAD) {
        (void)mgc_err_say(err, MGC_E_BUSY, "a dead mount lies at '%s'", MGC_SHOW(source));
        (void)mgc_err_hint(err, "`mediagcfs unmount` detaches it.");
        return MGC_E_BUSY;
    }
    return 0;
}

static int open_offline(struct mgc_cli *cli, struct mgc_err *err)
{
    const char *source = cli->conf->filesystem.source;
    struct mgc_service_spec spec = {.conf = cli->conf, .os = mgc_os_real(), .offline = true};
    int r;

    if (cli->conf_missing)
        return mgc_err_say(err, MGC_E_CONFIG, "no configuration '%s': --offline needs one",
                           cli->conf_path);
    r = check_unmounted(cli->conf, err);
    if (r < 0)
        return r;
    cli->root_fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cli->root_fd < 0)
        return mgc_err_set(err, -errno, "could not open source '%s'", MGC_SHOW(source));
    spec.root_fd = cli->root_fd;
    r = mgc_service_open(&spec, &cli->service, err);
    if (r == 0)
        cli->catalog = mgc_service_catalog(cli->service);
    return r;
}

static int connect_daemon(struct mgc_cli *cli, struct mgc_err *err)
{
    char path[MGC_PATH_BYTES_MAX + 1];

    int r = mgc_client_connect(mgc_cli_socket(cli->conf, path, sizeof(path)), &cli->client, err);

    if (r == -EACCES && err->hint[0] == '\0')
        (void)mgc_err_hint(err, "Run it as root, or as the user who reads the databases.");
    return r;
}

static int open_catalog(struct mgc_cli *cli, struct mgc_err *err)
{
    const struct mgc_catalog_spec spec = {.directory = cli->conf->catalog.directory,
                                          .read_only = true};
    int r = mgc_cli_call(cli, json_pack("{s:s}", "op", "flush"), NULL, err);

    return r < 0 ? r : mgc_catalog_open_sqlite(&spec, &cli->catalog, err);
}

int mgc_cli_open(struct mgc_cli *cli, struct mgc_err *err)
{
    int r;

    if (cli->offline)
        return open_offline(cli, err);
    r = connect_daemon(cli, err);
    return r < 0 ? r : open_catalog(cli, err);
}

static int start_sources(struct mgc_cli *cli, struct mgc_err *err)
{
    const struct mgc_conf *conf = cli->conf;

    if (conf->references_count == 0) {
        (void)mgc_err_say(err, MGC_E_CONFIG, "'%s' has no 'references' block",
                          MGC_SHOW(cli->conf_path));
        (void)mgc_err_hint(err, "Say where the application keeps its references, for example: "
                                "references app { type = postgresql  conninfo = \"...\" }");
        return MGC_E_CONFIG;
    }
    cli->sources = calloc(conf->references_count, sizeof(struct mgc_source *));
    if (cli->sources == NULL)
        return mgc_err_set(err, -ENOMEM, "could not open the reference sources");
    for (size_t i = 0; i < conf->references_count; i++) {
        int r = mgc_source_new(&conf->references[i], &cli->sources[i], err);

        if (r < 0)
            return r;
        cli->sources_count++;
        r = cli->sources[i]->ops->start(cli->sources[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* libpq looks for .pgpass and service files below HOME. */
static void adopt_home(uid_t uid)
{
    const struct passwd *user = getpwuid(uid);

    if (user != NULL) {
        (void)setenv("HOME", user->pw_dir, 1);
        (void)setenv("USER", user->pw_name, 1);
        (void)setenv("LOGNAME", user->pw_name, 1);
    }
}

int mgc_cli_become(uid_t uid, gid_t gid, struct mgc_err *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return mgc_err_set(err, -errno, "could not become uid %u", (unsigned)uid);
    if (setresuid(uid, 0, uid) == 0) /* ids changed, capabilities did not: still as good as root */
        return mgc_err_say(err, -EPERM, "could not become uid %u: the rights of root stay with us",
                           (unsigned)uid);
    adopt_home(uid);
    return 0;
}

static int drop_privileges(struct mgc_cli *cli, struct mgc_err *err)
{
    json_t *hello = NULL;
    uid_t uid;
    gid_t gid;
    int r;

    if (geteuid() != 0)
        return 0;
    r = mgc_cli_call(cli, json_pack("{s:s}", "op", "hello"), &hello, err);
    if (r < 0)
        return r;
    if (!json_is_integer(json_object_get(hello, "user")) ||
        !json_is_integer(json_object_get(hello, "group")))
        r = mgc_err_say(err, MGC_E_PROTOCOL, "the daemon did not say which user a run belongs to");
    uid = (uid_t)json_integer_value(json_object_get(hello, "user"));
    gid = (gid_t)json_integer_value(json_object_get(hello, "group"));
    json_decref(hello);
    if (r < 0) /* 0 would be taken for root */
        return r;
    if (uid == 0)
        return 0; /* the tree belongs to root and no `user` is named: nobody to become */
    return mgc_cli_become(uid, gid, err);
}

int mgc_cli_open_sources(struct mgc_cli *cli, bool as_operator, struct mgc_err *err)
{
    int r = start_sources(cli, err);

    if (r < 0)
        return r;
    r = cli->offline ? open_offline(cli, err) : connect_daemon(cli, err);
    if (r == 0 && cli->approve != NULL)
        r = mgc_cli_call(cli, json_pack("{s:s,s:s}", "op", "approve", "digest", cli->approve), NULL,
                         err);
    if (r < 0 || cli->offline)
        return r;
    r = drop_privileges(cli, err);
    if (r == 0 && !as_operator) {
        mgc_client_free(cli->client);
        cli->client = NULL;
        r = connect_daemon(cli, err);
    }
    return r < 0 ? r : open_catalog(cli, err);
}

void mgc_cli_close(struct mgc_cli *cli)
{
    struct mgc_err err = {0};

    mgc_cli_progress_end();
    for (size_t i = 0; i < cli->sources_count; i++)
        mgc_source_free(cli->sources[i]);
    free(cli->sources);
    if (cli->service == NULL)
        mgc_catalog_close(cli->catalog);
    else if (mgc_service_close(cli->service, &err) < 0)
        (void)mgc_cli_fail(&err);
    mgc_client_free(cli->client);
    if (cli->root_fd >= 0)
        (void)close(cli->root_fd);
    *cli = (struct mgc_cli){.program = cli->program, .conf = cli->conf, .root_fd = -1};
}
