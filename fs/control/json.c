/* json.c -- paths in JSON: text that may be lossy, and exact bytes where it is. */
#include "mediagcfs/bytes.h"
#include "mediagcfs/control.h"

json_t *mgc_json_text(const char *text)
{
    mgc_autobuf quoted = {0};

    mgc_buf_add_json(&quoted, text, strlen(text));
    return quoted.failed ? NULL : json_loadb(quoted.data, quoted.bytes, JSON_DECODE_ANY, NULL);
}

void mgc_json_set_path(json_t *object, const char *path)
{
    size_t bytes = strlen(path);
    mgc_autobuf hex = {0};

    if (mgc_utf8_valid(path, bytes)) {
        (void)json_object_set_new(object, "path", json_stringn(path, bytes));
        return;
    }
    mgc_buf_add_hex(&hex, path, bytes);
    (void)json_object_set_new(object, "path", mgc_json_text(path));
    if (!hex.failed)
        (void)json_object_set_new(object, "path_hex", json_stringn(hex.data, hex.bytes));
}

int mgc_json_get_path(json_t *object, char *out, size_t out_bytes)
{
    const json_t *hex = json_object_get(object, "path_hex");
    const json_t *text = json_object_get(object, "path");
    mgc_autobuf bytes = {0};

    if (json_is_string(hex)) {
        if (!mgc_buf_add_unhex(&bytes, json_string_value(hex), json_string_length(hex)))
            return -EINVAL;
    } else if (json_is_string(text))
        mgc_buf_add(&bytes, json_string_value(text), json_string_length(text));
    else
        return -EINVAL;
    if (bytes.failed)
        return -ENOMEM;
    if (bytes.bytes == 0 || memchr(bytes.data, '\0', bytes.bytes) != NULL)
        return -EINVAL;
    if (bytes.bytes >= out_bytes)
        return -ENAMETOOLONG;
    memcpy(out, bytes.data, bytes.bytes + 1);
    return 0;
}
