/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON (RFC 8259, narrowed): UTF-8, no duplicate keys, integers only within ±(2^53-1), no null, no \u0000, no
 * byte-order mark, depth at most 8, nothing after the value but white space. A linear check of our own stands before
 * cJSON, which alone is no validator. Getters return -ENOENT when the member is absent, -EBADMSG on another type.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"

#define JSON_DEPTH_MAX 8u                 /* the deepest document of ours has 6 */
#define JSON_INTEGER_MAX 9007199254740991 /* 2^53-1, exact in every reader */

/* 0 and a tree owned by the caller (cJSON_Delete); -EBADMSG on any violation, -ENOMEM. */
int json_parse(const char *text, size_t size, cJSON **ret_root) MUST_CHECK;
/* As json_parse, and the value must be an object. */
int json_parse_object(const char *text, size_t size, cJSON **ret_root) MUST_CHECK;
/* The same, but null is a value: only for Varlink calls, whose clients may send it for an absent field. */
int json_parse_object_with_null(const char *text, size_t size, cJSON **ret_root) MUST_CHECK;

/* The member of that exact name, or NULL. */
const cJSON *json_member(const cJSON *object, const char *name);
/* Borrowed text, alive as long as the tree. */
int json_get_string(const cJSON *object, const char *name, const char **ret_text) MUST_CHECK;
int json_get_integer(const cJSON *object, const char *name, int64_t *ret_integer) MUST_CHECK;
int json_get_bool(const cJSON *object, const char *name, bool *ret_bool) MUST_CHECK;
int json_get_array(const cJSON *object, const char *name, const cJSON **ret_array) MUST_CHECK;
int json_get_object(const cJSON *object, const char *name, const cJSON **ret_object) MUST_CHECK;
/* The number itself, of a node that is a number. */
int64_t json_integer_of(const cJSON *node);
/* 0 when every member of the object is named in the list (NULL-terminated), else -EBADMSG and that name. */
int json_only_members(const cJSON *object, const char *const *names, const char **ret_unknown) MUST_CHECK;

static inline void cleanup_json_pointer(cJSON **root)
{
	cJSON_Delete(*root);
}
#define cleanup_json CLEANUP(cleanup_json_pointer)

/*
 * Writing: appends to a buffer, puts the commas, escapes text. The key is NULL inside an array and at the top. Errors
 * stick in the buffer.
 */
struct json_writer {
	struct buffer *out;
	bool comma;
};

void json_begin_object(struct json_writer *writer, const char *key);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer, const char *key);
void json_end_array(struct json_writer *writer);
/* What json_put_string() needs: it writes bytes as they are, and what reads them takes well-formed UTF-8 alone. */
bool json_is_utf8(const char *text);
void json_put_string(struct json_writer *writer, const char *key, const char *text);
void json_put_integer(struct json_writer *writer, const char *key, int64_t integer);
void json_put_bool(struct json_writer *writer, const char *key, bool value);
/* A parsed tree, written again. */
void json_put_value(struct json_writer *writer, const char *key, const cJSON *value);
/* Text that is already JSON. */
void json_put_raw(struct json_writer *writer, const char *key, const char *json);
