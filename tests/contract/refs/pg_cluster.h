/*
 * pg_cluster.h -- a PostgreSQL server of the test's own.
 *
 * Role     Makes a cluster in a temporary directory from the newest installed server programs and
 *          runs it as a child.  What is missing fails the test.  The server ends with the test
 *          process, however that ends.
 */
#ifndef TESTS_REFS_PG_CLUSTER_H
#define TESTS_REFS_PG_CLUSTER_H

#include <libpq-fe.h>
#include <sys/types.h>

struct pg_cluster {
    char folder[64]; /* data in "data", the socket in "s" */
    char programs[256];
    pid_t server;
    uid_t uid; /* of the server: PostgreSQL refuses to run as root */
    gid_t gid;
};

void pg_cluster_start(struct pg_cluster *c); /* fails the test when it cannot */
void pg_cluster_stop(struct pg_cluster *c);  /* and removes the directory */
void pg_cluster_down(struct pg_cluster *c);  /* stops the server at once */
void pg_cluster_up(struct pg_cluster *c);    /* starts it again */

/* "host=... user=... dbname=..." of a role and database; the caller frees. */
char *pg_cluster_conninfo(const struct pg_cluster *c, const char *user, const char *database);
/* A session; fails the test when there is none. */
PGconn *pg_cluster_session(const struct pg_cluster *c, const char *user, const char *database);
/* Runs statements, fails the test on an error. */
void pg_do(PGconn *session, const char *sql);
/* First value of the result; the caller frees. */
char *pg_value(PGconn *session, const char *sql);

#endif
