/*
 * source_sqlite.c -- an SQLite database as a reference source: the reconciler's side.
 *
 * The file is never opened here.  A child under its owner's ids does that (H32), started while we
 * still may, and answers over a socket pair.
 *
 *   Q1  A scan ends with the child's COMPLETE and with as many texts as it says it sent.  End of
 *       the connection, an unknown frame, a wrong count: failure.
 *   Q2  Each request has a number.  What still arrives for an earlier one (it was given up at its
 *       deadline, or the caller's function refused) is passed over.
 *   Q3  The child goes when its parent does: it sees the end of the connection, and where the ids
 *       allow it (not after ours were dropped) a parent-death signal is faster.  One that is gone
 *       is started again only while our ids allow it.
 *   Q4  This process never opens the database with SQLite itself: what the library remembers about
 *       an open file would be inherited by the child, whose locks it is not.
 */
#include "fs/refs/source_sqlite_priv.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

enum {
    END_US = 5 * 1000 * 1000,   /* for the child to close the database */
    MARGIN_US = 100 * 1000,     /* the child gives up first: it knows the reason */
    LEAVE_US = 2 * 1000 * 1000, /* for the child to exit once its connection is closed */
    GROUPS_MAX = 256,
    ACCOUNT_BYTES = 16384,
    ORIGINS_MAX = MGC_SOURCE_COLUMNS_MAX,
    CHILD_FD = 3,
};

struct origin {
    char *table, *column;
    bool weak, whole;
};

struct sqlite_source {
    struct mgc_source base;
    const struct mgc_conf_references *conf;
    pid_t child; /* -1: none */
    struct mgc_wire wire;
    uint32_t seq;
    bool stale; /* answers to a request that was given up may be on their way */
    bool begun;
    struct origin *origins; /* of the request being answered */
    size_t origins_count, origins_capacity;
    char *covered;
};

/* Who the child will be. */
struct ids {
    uid_t uid;
    gid_t gid, groups[GROUPS_MAX];
    int groups_count;
    bool change;
};

static struct sqlite_source *source_of(struct mgc_source *s)
{
    return (struct sqlite_source *)s;
}

/* --- the child --- */

static int find_ids(const struct sqlite_source *s, struct ids *ids, struct mgc_err *err)
{
    mgc_autofree char *text = malloc(ACCOUNT_BYTES);
    struct passwd account, *found = NULL;
    struct stat file;
    int code;

    if (text == NULL)
        return mgc_err_set(err, -ENOMEM, "could not start reader of source '%s'", s->base.name);
    if (stat(s->conf->database, &file) < 0) {
        code = mgc_err_set(err, -errno, "could not find database '%s' of source '%s'",
                           MGC_SHOW(s->conf->database), s->base.name);
        (void)mgc_err_hint(err, "Check `database` of the references block");
        return code;
    }
    *ids = (struct ids){.uid = file.st_uid, .gid = file.st_gid, .groups_count = GROUPS_MAX};
    if (geteuid() == file.st_uid && geteuid() != 0)
        return 0;
    if (geteuid() != 0) {
        code = mgc_err_say(err, MGC_E_SOURCE,
                           "could not start reader of source '%s': database '%s' belongs to uid "
                           "%u, we are uid %u",
                           s->base.name, MGC_SHOW(s->conf->database), (unsigned)file.st_uid,
                           (unsigned)geteuid());
        (void)mgc_err_hint(err,
                           "Run as root or as uid %u: a foreign reader would leave files that "
                           "the application cannot write",
                           (unsigned)file.st_uid);
        return code;
    }
    ids->change = true;
    if (getpwuid_r(ids->uid, &account, text, ACCOUNT_BYTES, &found) != 0 || found == NULL ||
        getgrouplist(account.pw_name, ids->gid, ids->groups, &ids->groups_count) < 0) {
        ids->groups[0] = ids->gid;
        ids->groups_count = 1;
    }
    return 0;
}

/* By system call: the C library would tell threads that do not exist in the child. */
static bool become(const struct ids *ids)
{
    if (!ids->change)
        return true;
    return syscall(SYS_setgroups, ids->groups_count, ids->groups) == 0 &&
           syscall(SYS_setresgid, ids->gid, ids->gid, ids->gid) == 0 &&
           syscall(SYS_setresuid, ids->uid, ids->uid, ids->uid) == 0;
}

static void plain_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &plain, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static MGC_NORETURN void child_main(int fd, const struct ids *ids, pid_t parent,
                                    const struct mgc_conf_references *conf)
{
    int null_fd = open("/dev/null", O_RDWR);

    plain_signals();
    (void)umask(022);
    /* Nothing of the caller stays open here: whoever waits for the end of our output gets it. */
    if (null_fd < 0 || (fd != CHILD_FD && dup2(fd, CHILD_FD) < 0) || dup2(null_fd, 0) < 0 ||
        dup2(null_fd, 1) < 0 || dup2(null_fd, 2) < 0 ||
        syscall(SYS_close_range, CHILD_FD + 1U, ~0U, 0U) != 0 || !become(ids))
        _exit(127);
    (void)prctl(PR_SET_NAME, "mediagcfs-sqlite");
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* After the change of ids, which clears it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    mgc_sqlite_child(CHILD_FD, conf);
    _exit(0);
}

static void drop_child(struct sqlite_source *s)
{
    int64_t until_us = mgc_monotonic_us() + LEAVE_US;
    int status;

    mgc_wire_done(&s->wire);
    s->begun = false;
    s->stale = false;
    if (s->child <= 0)
        return;
    (void)kill(s->child, SIGKILL); /* refused after our ids have changed: then it leaves at EOF */
    while (waitpid(s->child, &status, WNOHANG) == 0 && !mgc_source_past(until_us))
        (void)usleep(1000);
    s->child = -1;
}

static int start_child(struct sqlite_source *s, struct mgc_err *err)
{
    pid_t parent = getpid(), child;
    struct ids ids;
    int pair[2], r = find_ids(s, &ids, err);

    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return mgc_err_set(err, -errno, "could not start reader of source '%s'", s->base.name);
    child = fork();
    if (child == 0)
        child_main(pair[1], &ids, parent, s->conf);
    r = errno;
    (void)close(pair[1]);
    if (child < 0) {
        (void)close(pair[0]);
        return mgc_err_set(err, -r, "could not start reader of source '%s'", s->base.name);
    }
    s->child = child;
    s->wire.fd = pair[0];
    return 0;
}

static int sqlite_start(struct mgc_source *base, struct mgc_err *err)
{
    struct sqlite_source *s = source_of(base);

    drop_child(s);
    return start_child(s, err);
}

/* --- requests and answers --- */

static void forget_origins(struct sqlite_source *s)
{
    for (size_t i = 0; i < s->origins_count; i++) {
        free(s->origins[i].table);
        free(s->origins[i].column);
    }
    s->origins_count = 0;
}

/* The connection broke: say how the child ended, as far as that can be told. */
static int lost(struct sqlite_source *s, int code, struct mgc_err *err)
{
    char how[64] = "the connection broke";
    int status = 0;

    for (int i = 0; i < 100 && s->child > 0; i++) {
        pid_t got = waitpid(s->child, &status, WNOHANG);

        if (got == s->child) {
            s->child = -1;
            if (WIFSIGNALED(status))
                (void)snprintf(how, sizeof(how), "killed by signal %d", WTERMSIG(status));
            else
                (void)snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
        } else if (got < 0) {
            s->child = -1;
        } else {
            (void)usleep(1000);
        }
    }
    drop_child(s);
    if (code == MGC_E_PROTOCOL || code == -ENOMEM)
        return mgc_err_set(err, code, "could not understand reader of source '%s'", s->base.name);
    return mgc_err_say(err, MGC_E_INCOMPLETE,
                       "could not read source '%s': its reader ended before it had finished: %s",
                       s->base.name, how);
}

static int too_late(struct sqlite_source *s, struct mgc_err *err)
{
    s->stale = true;
    (void)mgc_err_say(err, MGC_E_TIMEOUT,
                      "could not read database '%s' of source '%s': took too long",
                      MGC_SHOW(s->conf->database), s->base.name);
    (void)mgc_err_hint(err, "Give the references block a longer timeout");
    return MGC_E_TIMEOUT;
}

/* The next frame that answers the last request. */
static int next_answer(struct sqlite_source *s, int64_t deadline_us, struct mgc_frame *ret,
                       struct mgc_err *err)
{
    for (;;) {
        int r = mgc_wire_next(&s->wire, deadline_us, ret);

        if (r == MGC_E_TIMEOUT)
            return too_late(s, err);
        if (r <= 0)
            return lost(s, r, err);
        if (ret->seq == s->seq)
            return 0;
        /* A child that floods us with what nobody wants any more does not outlast the deadline. */
        if (mgc_source_past(deadline_us))
            return too_late(s, err);
    }
}

static int take_error(struct sqlite_source *s, struct mgc_frame *f, struct mgc_err *err)
{
    const char *text = NULL, *hint = NULL;
    int64_t code;

    if (!mgc_frame_i64(f, &code) || !mgc_frame_text(f, &text) || !mgc_frame_text(f, &hint) ||
        code >= 0 || code < INT32_MIN)
        return lost(s, MGC_E_PROTOCOL, err);
    (void)mgc_err_say(err, (int)code, "%s", text);
    if (hint[0] != '\0')
        (void)mgc_err_hint(err, "%s", hint);
    return (int)code;
}

static int flush(struct sqlite_source *s, int64_t deadline_us, struct mgc_err *err)
{
    int r = mgc_wire_flush(&s->wire, deadline_us);

    if (r == 0)
        return 0;
    return r == MGC_E_TIMEOUT ? (drop_child(s), too_late(s, err)) : lost(s, r, err);
}

/* Asks the child to close everything, and reads until it says so. */
static int settle(struct sqlite_source *s, int64_t deadline_us, struct mgc_err *err)
{
    struct mgc_frame frame;
    int r;

    s->seq++;
    mgc_wire_close(&s->wire, mgc_wire_open(&s->wire, MGC_FRAME_END, s->seq));
    r = flush(s, deadline_us, err);
    if (r == 0)
        r = next_answer(s, deadline_us, &frame, err);
    if (r == 0 && frame.type != MGC_FRAME_COMPLETE)
        r = lost(s, MGC_E_PROTOCOL, err);
    if (r == 0) {
        s->stale = false;
        s->begun = false;
    }
    return r;
}

/* A child to talk to: the one we have, or, while we may, a new one (Q3). */
static int ready(struct sqlite_source *s, int64_t deadline_us, struct mgc_err *err)
{
    if (mgc_source_past(deadline_us))
        return mgc_err_set(err, MGC_E_TIMEOUT, "could not read source '%s'", s->base.name);
    if (s->wire.fd >= 0 && s->stale && settle(s, deadline_us, err) == 0)
        return 0;
    if (s->wire.fd >= 0 && !s->stale)
        return 0;
    drop_child(s);
    return start_child(s, err);
}

static size_t request(struct sqlite_source *s, enum mgc_frame_type type, int64_t deadline_us)
{
    size_t place;

    s->seq++;
    place = mgc_wire_open(&s->wire, type, s->seq);
    mgc_wire_i64(&s->wire, deadline_us == 0 ? 0 : deadline_us - MARGIN_US);
    return place;
}

static int view_of(struct sqlite_source *s, struct mgc_frame *f, struct mgc_source_view *view,
                   struct mgc_err *err)
{
    const char *identity, *position;

    if (f->type == MGC_FRAME_ERROR)
        return take_error(s, f, err);
    if (f->type != MGC_FRAME_VIEW || !mgc_frame_text(f, &identity) || !mgc_frame_text(f, &position))
        return lost(s, MGC_E_PROTOCOL, err);
    view->identity = strdup(identity);
    view->position = strdup(position);
    if (view->identity == NULL || view->position == NULL)
        return mgc_err_set(err, -ENOMEM, "could not begin source '%s'", s->base.name);
    return 0;
}

static int sqlite_begin(struct mgc_source *base, int64_t deadline_us,
                        struct mgc_source_view *ret_view, struct mgc_err *err)
{
    struct sqlite_source *s = source_of(base);
    struct mgc_source_view view = {.progress = -1};
    struct mgc_frame frame;
    int r = ready(s, deadline_us, err);

    if (r < 0)
        return r;
    view.t0_us = mgc_now_us(); /* before the snapshot; one machine, one clock */
    view.oldest_us = view.t0_us;
    mgc_wire_close(&s->wire, request(s, MGC_FRAME_BEGIN, deadline_us));
    r = flush(s, deadline_us, err);
    if (r == 0)
        r = next_answer(s, deadline_us, &frame, err);
    if (r == 0)
        r = view_of(s, &frame, &view, err);
    if (r < 0) {
        mgc_source_view_done(&view);
        return r;
    }
    s->begun = true;
    *ret_view = view;
    return 0;
}

static int sqlite_fence_passed(struct mgc_source *base, const char *fence, int64_t deadline_us,
                               struct mgc_err *err)
{
    (void)deadline_us;
    if (fence == NULL || fence[0] == '\0')
        return 1;
    return mgc_err_say(err, MGC_E_SOURCE, "could not check fence of source '%s': SQLite has none",
                       base->name);
}

static int take_origin(struct sqlite_source *s, struct mgc_frame *f, struct mgc_err *err)
{
    const char *table, *column;
    uint32_t weak, whole;
    struct origin *origin;

    if (!mgc_frame_u32(f, &weak) || !mgc_frame_u32(f, &whole) || !mgc_frame_text(f, &table) ||
        !mgc_frame_text(f, &column) || s->origins_count >= ORIGINS_MAX)
        return lost(s, MGC_E_PROTOCOL, err);
    if (s->origins_count == s->origins_capacity) {
        size_t capacity = s->origins_capacity == 0 ? 64 : s->origins_capacity * 2;
        struct origin *grown = realloc(s->origins, capacity * sizeof(*grown));

        if (grown == NULL)
            return mgc_err_set(err, -ENOMEM, "could not read source '%s'", s->base.name);
        s->origins = grown;
        s->origins_capacity = capacity;
    }
    origin = &s->origins[s->origins_count];
    *origin = (struct origin){
        .table = strdup(table), .column = strdup(column), .weak = weak != 0, .whole = whole != 0};
    s->origins_count++;
    if (origin->table == NULL || origin->column == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", s->base.name);
    return 0;
}

static int take_text(struct sqlite_source *s, struct mgc_frame *f, mgc_text_fn *each, void *arg,
                     struct mgc_err *err)
{
    struct mgc_origin origin;
    uint32_t number;

    if (!mgc_frame_u32(f, &number) || number >= s->origins_count)
        return lost(s, MGC_E_PROTOCOL, err);
    origin = (struct mgc_origin){.source = s->base.name,
                                 .table = s->origins[number].table,
                                 .column = s->origins[number].column,
                                 .weak = s->origins[number].weak,
                                 .whole = s->origins[number].whole};
    return each(arg, &origin, f->data, f->bytes);
}

/* Q1: the one place where COMPLETE comes from. */
static int take_complete(struct sqlite_source *s, struct mgc_frame *f, int64_t texts, bool keep,
                         struct mgc_err *err)
{
    const char *covered;
    int64_t sent;
    char *copy;

    if (!mgc_frame_i64(f, &sent) || !mgc_frame_text(f, &covered) || sent != texts)
        return lost(s, MGC_E_PROTOCOL, err);
    if (!keep)
        return MGC_SOURCE_COMPLETE;
    copy = strdup(covered);
    if (copy == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", s->base.name);
    free(s->covered);
    s->covered = copy;
    return MGC_SOURCE_COMPLETE;
}

/* Answers until COMPLETE or an error.  keep: its list of what was read becomes covered(). */
static int receive(struct sqlite_source *s, bool keep, int64_t deadline_us, mgc_text_fn *each,
                   void *arg, struct mgc_err *err)
{
    struct mgc_frame frame;
    int64_t texts = 0;
    int r = 0;

    forget_origins(s);
    while (r >= 0) {
        r = next_answer(s, deadline_us, &frame, err);
        if (r < 0)
            return r;
        if (frame.type == MGC_FRAME_COMPLETE)
            return take_complete(s, &frame, texts, keep, err);
        if (frame.type == MGC_FRAME_ERROR)
            return take_error(s, &frame, err);
        if (frame.type == MGC_FRAME_ORIGIN) {
            r = take_origin(s, &frame, err);
        } else if (frame.type == MGC_FRAME_TEXT) {
            r = take_text(s, &frame, each, arg, err);
            texts++;
        } else {
            return lost(s, MGC_E_PROTOCOL, err);
        }
        if (r >= 0 && texts % 64 == 0 && mgc_source_past(deadline_us))
            return too_late(s, err);
    }
    s->stale = s->wire.fd >= 0;
    return r;
}

static int sqlite_scan(struct mgc_source *base, enum mgc_source_depth depth, int64_t deadline_us,
                       mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct sqlite_source *s = source_of(base);
    size_t place;
    int r;

    if (!s->begun || s->wire.fd < 0)
        return mgc_err_say(err, MGC_E_SOURCE, "could not read source '%s': no snapshot is open",
                           base->name);
    place = request(s, MGC_FRAME_SCAN, deadline_us);
    mgc_wire_u32(&s->wire, (uint32_t)depth);
    mgc_wire_close(&s->wire, place);
    r = flush(s, deadline_us, err);
    if (r == 0)
        r = receive(s, true, deadline_us, each, arg, err);
    if (r != MGC_SOURCE_COMPLETE)
        s->begun = false;
    return r;
}

static int sqlite_ask(struct mgc_source *base, const char *const *paths, size_t count,
                      const char *const *columns, size_t columns_count, int64_t deadline_us,
                      mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct sqlite_source *s = source_of(base);
    size_t place;
    int r = ready(s, deadline_us, err);

    if (r < 0)
        return r;
    if (count > UINT32_MAX || columns_count > UINT32_MAX)
        return mgc_err_say(err, MGC_E_LIMIT, "could not ask source '%s': too many paths",
                           base->name);
    s->begun = false; /* the child reads a snapshot of its own now */
    place = request(s, MGC_FRAME_ASK, deadline_us);
    mgc_wire_u32(&s->wire, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        mgc_wire_text(&s->wire, paths[i]);
    mgc_wire_u32(&s->wire, (uint32_t)columns_count);
    for (size_t i = 0; i < columns_count; i++)
        mgc_wire_text(&s->wire, columns[i]);
    mgc_wire_close(&s->wire, place);
    r = flush(s, deadline_us, err);
    return r == 0 ? receive(s, false, deadline_us, each, arg, err) : r;
}

static const char *sqlite_covered(struct mgc_source *base)
{
    return source_of(base)->covered;
}

static void sqlite_end(struct mgc_source *base)
{
    struct sqlite_source *s = source_of(base);

    if (s->wire.fd >= 0 && settle(s, mgc_monotonic_us() + END_US, NULL) < 0)
        s->stale = s->wire.fd >= 0;
    s->begun = false;
}

static void sqlite_free(struct mgc_source *base)
{
    struct sqlite_source *s = source_of(base);

    drop_child(s);
    forget_origins(s);
    free(s->origins);
    free(s->covered);
    free(s);
}

static const struct mgc_source_ops sqlite_ops = {
    .kind = "sqlite",
    .start = sqlite_start,
    .begin = sqlite_begin,
    .fence_passed = sqlite_fence_passed,
    .scan = sqlite_scan,
    .ask = sqlite_ask,
    .covered = sqlite_covered,
    .end = sqlite_end,
    .free = sqlite_free,
};

int mgc_source_sqlite_new(const struct mgc_conf_references *conf, struct mgc_source **ret,
                          struct mgc_err *err)
{
    struct sqlite_source *s;

    if (conf->database == NULL || conf->database[0] != '/')
        return mgc_err_say(err, MGC_E_CONFIG,
                           "could not make source '%s': database must be an absolute path",
                           conf->name);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make source '%s'", conf->name);
    s->base.ops = &sqlite_ops;
    s->base.name = conf->name;
    s->conf = conf;
    s->child = -1;
    s->wire.fd = -1;
    *ret = &s->base;
    return 0;
}
