/*
 * tree_caller.c -- what is made belongs to whoever asked for it.
 *
 * The kernel has checked the caller's rights already (default_permissions), so only the *owner* of
 * what is made is at stake: filesystem ids are switched for one call, capabilities are kept
 * (SECBIT_NO_SETUID_FIXUP, set by fs/mount before its threads start) so that a right that came from
 * a supplementary group is not lost.  The umask works on the thread itself: then a default ACL
 * takes its place exactly as the backing filesystem has it, without asking for one each time.
 */
#include <sched.h>
#include <sys/syscall.h>

#include "fs/media/tree_priv.h"

/* A thread that shares its umask with others cannot switch it. */
static bool own_umask(void)
{
    static _Thread_local enum { UNKNOWN, OWN, SHARED } state;

    if (state == UNKNOWN)
        state = unshare(CLONE_FS) == 0 ? OWN : SHARED;
    return state == OWN;
}

static void set_ids(uint32_t uid, uint32_t gid)
{
    /* The library's setfsuid() is per thread too; the raw calls stay so for certain. */
    (void)syscall(SYS_setfsgid, gid);
    (void)syscall(SYS_setfsuid, uid);
}

struct mgc_became mgc_caller_become(const struct mgc_tree *t, const struct mgc_caller *caller)
{
    struct mgc_became was = {.mode_mask = 0};

    if (t->switch_ids && (caller->uid != 0 || caller->gid != 0)) {
        set_ids(caller->uid, caller->gid);
        was.ids = true;
    }
    if (own_umask()) {
        (void)umask(caller->umask & 0777);
        was.mask = true;
    } else {
        was.mode_mask = caller->umask & 0777;
    }
    return was;
}

void mgc_caller_return(const struct mgc_became *was)
{
    int saved = errno;

    if (was->ids)
        set_ids(0, 0);
    if (was->mask)
        (void)umask(0);
    errno = saved;
}
