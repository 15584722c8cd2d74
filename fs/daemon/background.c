/* background.c -- `mount` returns when the mount answers, and nothing of its caller stays open. */
#include <fcntl.h>
#include <sys/wait.h>

#include "daemon_priv.h"
#include "mediagcfs/log.h"

static void wait_for_child(pid_t child, int fd)
{
    char byte;
    ssize_t n;
    int status;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

void mgc_background_start(struct mgc_background *b)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
        mgc_log(MGC_LOG_ERROR, "could not go to the background: %s", strerrordesc_np(errno));
        _exit(1);
    }
    if (child > 0) {
        (void)close(fds[1]);
        wait_for_child(child, fds[0]);
    }
    (void)close(fds[0]);
    b->ready_fd = fds[1];
    (void)setsid();
    if (chdir("/") < 0)
        mgc_log(MGC_LOG_WARNING, "could not change to '/': %s", strerrordesc_np(errno));
}

void mgc_background_ready(struct mgc_background *b, const char *log_path)
{
    int null_fd, log_fd;
    ssize_t written;

    if (b->ready_fd < 0)
        return;
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDIN_FILENO);
        (void)dup2(null_fd, STDOUT_FILENO);
        (void)dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
        (void)close(null_fd);
    }
    if (log_fd >= 0)
        (void)close(log_fd);
    written = write(b->ready_fd, "0", 1);
    (void)written; /* a parent that is gone needs no answer */
    (void)close(b->ready_fd);
    b->ready_fd = -1;
}
