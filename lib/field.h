/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type language of the manifests, one place for what each type accepts: user name label text:N column:N path
 * int:A:B bool time enum:a|b key base64:N names:N cidrs:N id object. A trailing `!` makes a field required, `=x` gives
 * its default.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/code.h"
#include "lib/json.h"

enum field_kind {
	FIELD_USER,
	FIELD_NAME,
	FIELD_LABEL,
	FIELD_TEXT,
	FIELD_COLUMN, /* text without a colon: a column of passwd(5) or shadow(5) */
	FIELD_PATH,
	FIELD_INT,
	FIELD_BOOL,
	FIELD_TIME,
	FIELD_ENUM,
	FIELD_KEY,
	FIELD_BASE64,
	FIELD_NAMES,
	FIELD_CIDRS,
	FIELD_ID,
	FIELD_OBJECT, /* internal commands only */
};

struct field_type {
	enum field_kind kind;
	bool required;
	int64_t low, high; /* int: the range; text, column, base64, names, cidrs: high is the most bytes or elements */
	const char *choices; /* enum: "a|b|c", borrowed, choices_size long */
	size_t choices_size;
	const char *default_text; /* after '=', borrowed, ends with the declaration; NULL without */
};

#define FIELD_KEY_MAX 16384
#define FIELD_PATH_MAX 256

/* Reads a declaration such as "int:0:3600=0"; -EINVAL. The text must outlive the type. */
int field_parse_type(const char *declaration, struct field_type *ret_type) MUST_CHECK;
/* OK, FIELD_INVALID or NAME_INVALID (for user, name and label). */
enum code field_check(const struct field_type *type, const cJSON *value);
/* The single checks, for those who have the text and no JSON. */
bool field_is_user(const char *text);
bool field_is_name(const char *text);
bool field_is_label(const char *text);
bool field_is_id(const char *text);
bool field_is_instance(const char *text);
bool field_is_path(const char *text);
bool field_is_cidr(const char *text);
/* Printable UTF-8: no C0, DEL or C1, at most `limit` bytes. */
bool field_is_text(const char *text, size_t limit);
