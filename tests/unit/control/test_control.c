/* The control socket: requests, errors, hostile lines, and an end that waits for its handlers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/control.h"

static struct {
    char dir[64], path[96];
    struct mgc_server *server;
    atomic_int gone, slow_done;
} F;

static int handle(void *arg, const struct mgc_peer *peer, json_t *request, mgc_row_fn *row,
                  void *row_arg, json_t **ret_ok, struct mgc_err *err)
{
    const char *op = json_string_value(json_object_get(request, "op"));

    (void)arg;
    if (strcmp(op, "rows") == 0)
        for (int i = 0; i < 3; i++)
            if (row(row_arg, json_pack("{s:i}", "n", i)) < 0)
                return -EPIPE;
    if (strcmp(op, "refuse") == 0) {
        (void)mgc_err_say(err, MGC_E_REFUSED, "not today");
        return mgc_err_hint(err, "Come back tomorrow.");
    }
    if (strcmp(op, "slow") == 0) {
        (void)usleep(200000);
        atomic_fetch_add(&F.slow_done, 1);
    }
    *ret_ok = json_pack("{s:i}", "uid", (int)peer->uid);
    return 0;
}

static void gone(void *arg, const struct mgc_peer *peer)
{
    (void)arg;
    (void)peer;
    atomic_fetch_add(&F.gone, 1);
}

static int set_up(void **state)
{
    struct mgc_server_spec spec = {
        .path = F.path, .mode = 0660, .gid = -1, .handle = handle, .gone = gone};

    (void)state;
    memset(&F, 0, sizeof(F));
    (void)snprintf(F.dir, sizeof(F.dir), "/tmp/mgc-control-XXXXXX");
    assert_non_null(mkdtemp(F.dir));
    (void)snprintf(F.path, sizeof(F.path), "%s/control.sock", F.dir);
    return mgc_server_start(&spec, &F.server, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    mgc_server_stop(F.server);
    return rmdir(F.dir); /* fails, and with it the test, when the socket was left behind */
}

static struct mgc_client *connected(void)
{
    struct mgc_client *client = NULL;

    assert_int_equal(mgc_client_connect(F.path, &client, NULL), 0);
    return client;
}

static int count_rows(void *arg, json_t *row)
{
    int *seen = arg;

    assert_int_equal(json_integer_value(json_object_get(row, "n")), *seen);
    (*seen)++;
    return 0;
}

static void a_request_is_answered_with_rows_and_result(void **state)
{
    struct mgc_client *client = connected();
    json_t *ok = NULL;
    int seen = 0;
    struct stat st;

    (void)state;
    assert_int_equal(
        mgc_client_call(client, json_pack("{s:s}", "op", "rows"), count_rows, &seen, &ok, NULL), 0);
    assert_int_equal(seen, 3);
    assert_int_equal(json_integer_value(json_object_get(ok, "uid")), (int)geteuid());
    json_decref(ok);
    mgc_client_free(client);
    assert_int_equal(stat(F.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

static void an_error_arrives_with_code_text_and_hint(void **state)
{
    struct mgc_client *client = connected();
    struct mgc_err err = {0};
    json_t *ok = NULL;

    (void)state;
    assert_int_equal(
        mgc_client_call(client, json_pack("{s:s}", "op", "refuse"), NULL, NULL, &ok, &err),
        MGC_E_REFUSED);
    assert_null(ok);
    assert_string_equal(err.text, "not today");
    assert_string_equal(err.hint, "Come back tomorrow.");
    /* The connection is still in step. */
    assert_int_equal(
        mgc_client_call(client, json_pack("{s:s}", "op", "rows"), NULL, NULL, NULL, NULL), 0);
    mgc_client_free(client);
}

static int raw_connection(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", F.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Sends bytes, returns the first answer (static) or "" when the server closed. */
static const char *raw_exchange(const char *text, size_t bytes)
{
    static char answer[4096];
    int fd = raw_connection();
    size_t sent = 0;
    ssize_t n = 0;

    while (sent < bytes && n >= 0) {
        n = send(fd, text + sent, bytes - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    }
    (void)shutdown(fd, SHUT_WR);
    n = recv(fd, answer, sizeof(answer) - 1, 0);
    answer[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    return answer;
}

static void hostile_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "nonsense\n",
        "[1,2]\n",
        "{\"op\":\"rows\"}\n",
        "{\"v\":2,\"op\":\"rows\"}\n",
        "{\"v\":1}\n",
        "{\"v\":1,\"op\":7}\n",
        "{\"v\":1,\"op\":\"rows\"",
        "\n",
        "{\"v\":1,\"v\":1,\"op\":\"rows\"}\n",
    };
    size_t huge = (size_t)MGC_MESSAGE_BYTES_MAX + 200000;
    char *big = malloc(huge);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (strstr(raw_exchange(lines[i], strlen(lines[i])), "\"protocol\"") == NULL)
            fail_msg("line %zu was not refused: %s", i, lines[i]);
    memset(big, 'a', huge);
    assert_non_null(strstr(raw_exchange(big, huge), "\"limit\""));
    free(big);
    /* The server lives on. */
    struct mgc_client *client = connected();
    assert_int_equal(
        mgc_client_call(client, json_pack("{s:s}", "op", "rows"), NULL, NULL, NULL, NULL), 0);
    mgc_client_free(client);
}

static void nobody_there_is_said_with_a_remedy(void **state)
{
    struct mgc_client *client = NULL;
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_client_connect("/tmp/no/such/socket", &client, &err), MGC_E_NO_DAEMON);
    assert_non_null(strstr(err.hint, "mediagcfs mount"));
    assert_null(client);
}

static void a_second_server_on_the_socket_is_refused(void **state)
{
    const struct mgc_server_spec spec = {.path = F.path, .mode = 0600, .gid = -1, .handle = handle};
    struct mgc_server *second = NULL;

    (void)state;
    assert_int_equal(mgc_server_start(&spec, &second, NULL), MGC_E_BUSY);
    assert_null(second);
    mgc_client_free(connected());
}

static void the_end_of_a_connection_is_told_once(void **state)
{
    struct mgc_client *client = connected();

    (void)state;
    assert_int_equal(
        mgc_client_call(client, json_pack("{s:s}", "op", "rows"), NULL, NULL, NULL, NULL), 0);
    mgc_client_free(client);
    for (int i = 0; i < 200 && atomic_load(&F.gone) == 0; i++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&F.gone), 1);
}

static void *slow_call(void *arg)
{
    struct mgc_client *client = arg;

    return (void *)(intptr_t)mgc_client_call(client, json_pack("{s:s}", "op", "slow"), NULL, NULL,
                                             NULL, NULL);
}

static void stopping_waits_for_the_handler_and_answers(void **state)
{
    const struct mgc_server_spec spec = {
        .path = F.path, .mode = 0660, .gid = -1, .handle = handle, .gone = gone};
    struct mgc_client *client = connected();
    pthread_t thread;
    void *code = NULL;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, slow_call, client), 0);
    (void)usleep(50000);
    mgc_server_stop(F.server);
    assert_int_equal(atomic_load(&F.slow_done), 1);
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_int_equal((int)(intptr_t)code, 0);
    mgc_client_free(client);
    assert_int_equal(mgc_server_start(&spec, &F.server, NULL), 0); /* for the tear-down */
}

static int64_t cpu_us(void)
{
    struct rusage used;

    assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) +
           used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

/* The mount keeps a descriptor for each inode: a full table must not set the accept loop spinning.
 */
static void waiting_for_a_descriptor_costs_no_time(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static const char line[] = "{\"v\":1,\"op\":\"rows\"}\n";
    const struct timeval patience = {.tv_sec = 10};
    struct rlimit before, none;
    char answer[64];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int64_t began;

    (void)state;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", F.path);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    began = cpu_us();
    (void)usleep(300000);
    began = cpu_us() - began;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(began, 0, 100000);
    assert_int_equal(send(fd, line, sizeof(line) - 1, 0), (int)sizeof(line) - 1); /* served then */
    assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
    (void)close(fd);
}

static void paths_survive_json_byte_for_byte(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "docs/\xc3\xa9t\xc3\xa9.pdf",
                                        "docs/\xe9t\xe9.pdf", "a\nb\"c\\d", "\xff\xfe"};
    char back[MGC_PATH_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        json_t *o = json_object();
        bool text = mgc_utf8_valid(paths[i], strlen(paths[i]));

        mgc_json_set_path(o, paths[i]);
        assert_true(json_is_string(json_object_get(o, "path")));
        assert_int_equal(json_object_get(o, "path_hex") == NULL, text);
        assert_int_equal(mgc_json_get_path(o, back, sizeof(back)), 0);
        assert_string_equal(back, paths[i]);
        json_decref(o);
    }
}

static void malformed_paths_are_refused(void **state)
{
    static const char *const objects[] = {"{}",
                                          "{\"path\":7}",
                                          "{\"path\":\"\"}",
                                          "{\"path\":\"a\\u0000b\"}",
                                          "{\"path_hex\":\"6\"}",
                                          "{\"path_hex\":\"zz\"}",
                                          "{\"path_hex\":\"610062\"}"};
    char back[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        json_t *o = json_loads(objects[i], JSON_ALLOW_NUL, NULL);

        assert_non_null(o);
        if (mgc_json_get_path(o, back, sizeof(back)) != -EINVAL)
            fail_msg("%s was accepted", objects[i]);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_answered_with_rows_and_result, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_arrives_with_code_text_and_hint, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hostile_lines_are_refused, set_up, tear_down),
        cmocka_unit_test(nobody_there_is_said_with_a_remedy),
        cmocka_unit_test_setup_teardown(a_second_server_on_the_socket_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_a_connection_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping_waits_for_the_handler_and_answers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(waiting_for_a_descriptor_costs_no_time, set_up, tear_down),
        cmocka_unit_test(paths_survive_json_byte_for_byte),
        cmocka_unit_test(malformed_paths_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
