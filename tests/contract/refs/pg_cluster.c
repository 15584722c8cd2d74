/* pg_cluster.c -- initdb, postgres, and a few calls of libpq for tests. */
#include "pg_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The newest server that is installed. */
static void find_programs(struct pg_cluster *c)
{
    glob_t found = {0};
    int best = 0;

    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int version = (int)strtol(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);

            if (version > best) {
                best = version;
                (void)snprintf(c->programs, sizeof(c->programs), "%.*s",
                               (int)(strlen(found.gl_pathv[i]) - strlen("/initdb")),
                               found.gl_pathv[i]);
            }
        }
    globfree(&found);
    if (best == 0)
        fail_msg("no PostgreSQL server programs in /usr/lib/postgresql: install them");
}

static pid_t spawn(const struct pg_cluster *c, char *const *argv, const char *output)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int out = open(output, O_WRONLY | O_CREAT | O_APPEND, 0666);

        if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/") < 0)
            _exit(126);
        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(c->gid) < 0 || setuid(c->uid) < 0))
            _exit(126);
        (void)prctl(PR_SET_PDEATHSIG, SIGQUIT); /* immediate shutdown */
        (void)execv(argv[0], argv);
        _exit(127);
    }
    return child;
}

static void log_path(const struct pg_cluster *c, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "%s/log", c->folder);
}

static void make(struct pg_cluster *c)
{
    char program[300], data[100], log[100];
    char *const argv[] = {program, "-D", data,   "-U",         "postgres",          "-A", "trust",
                          "-N",    "-E", "UTF8", "--locale=C", "--no-instructions", NULL};
    int status;

    (void)snprintf(program, sizeof(program), "%s/initdb", c->programs);
    (void)snprintf(data, sizeof(data), "%s/data", c->folder);
    log_path(c, log, sizeof(log));
    assert_int_equal(waitpid(spawn(c, argv, log), &status, 0) > 0, 1);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("initdb failed, see %s", log);
}

char *pg_cluster_conninfo(const struct pg_cluster *c, const char *user, const char *database)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "host=%s user=%s dbname=%s", c->folder, user, database);
    return strdup(text);
}

static bool answers(const struct pg_cluster *c)
{
    char *conninfo = pg_cluster_conninfo(c, "postgres", "postgres");
    bool yes = PQping(conninfo) == PQPING_OK;

    free(conninfo);
    return yes;
}

void pg_cluster_up(struct pg_cluster *c)
{
    char program[300], data[100], log[100];
    char *const argv[] = {program,   "-D",
                          data,      "-k",
                          c->folder, "-h",
                          "",        "-F",
                          "-c",      "max_prepared_transactions=10",
                          "-c",      "shared_buffers=16MB",
                          "-c",      "autovacuum=off",
                          NULL};

    (void)snprintf(program, sizeof(program), "%s/postgres", c->programs);
    (void)snprintf(data, sizeof(data), "%s/data", c->folder);
    log_path(c, log, sizeof(log));
    c->server = spawn(c, argv, log);
    for (int i = 0; i < 600; i++) {
        if (answers(c))
            return;
        if (waitpid(c->server, NULL, WNOHANG) != 0)
            break;
        (void)usleep(50000);
    }
    fail_msg("the server does not start, see %s", log);
}

void pg_cluster_start(struct pg_cluster *c)
{
    struct passwd *account = getpwnam("postgres");

    *c = (struct pg_cluster){.server = -1, .uid = geteuid(), .gid = getegid()};
    find_programs(c);
    (void)snprintf(c->folder, sizeof(c->folder), "/dev/shm/mgc-pg-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    if (geteuid() == 0) {
        assert_non_null(account);
        c->uid = account->pw_uid;
        c->gid = account->pw_gid;
        assert_int_equal(chown(c->folder, c->uid, c->gid), 0);
    }
    assert_int_equal(chmod(c->folder, 0755), 0);
    make(c);
    pg_cluster_up(c);
}

void pg_cluster_down(struct pg_cluster *c)
{
    if (c->server <= 0)
        return;
    (void)kill(c->server, SIGQUIT);
    (void)waitpid(c->server, NULL, 0);
    c->server = -1;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

void pg_cluster_stop(struct pg_cluster *c)
{
    pg_cluster_down(c);
    if (c->folder[0] != '\0')
        (void)nftw(c->folder, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    c->folder[0] = '\0';
}

static void quiet(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

PGconn *pg_cluster_session(const struct pg_cluster *c, const char *user, const char *database)
{
    char *conninfo = pg_cluster_conninfo(c, user, database);
    PGconn *session = PQconnectdb(conninfo);

    free(conninfo);
    if (PQstatus(session) != CONNECTION_OK)
        fail_msg("no session as %s: %s", user, PQerrorMessage(session));
    (void)PQsetNoticeReceiver(session, quiet, NULL);
    return session;
}

void pg_do(PGconn *session, const char *sql)
{
    PGresult *res = PQexec(session, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(session));
    PQclear(res);
}

char *pg_value(PGconn *session, const char *sql)
{
    PGresult *res = PQexec(session, sql);
    char *value;

    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) < 1)
        fail_msg("%s: %s", sql, PQerrorMessage(session));
    value = strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    return value;
}
