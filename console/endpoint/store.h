/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the endpoint keeps: instances with their latched identity, signed documents, signed results in order of arrival,
 * and hashed tokens. One implementation is linked: store_sqlite.c. Every function is durable when it returns 0; -ENOENT
 * means that the thing named is not there, -EIO that the store failed (logged by the store with its own message).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"

#define STORE_HASH_SIZE 32u
#define STORE_ETAG_SIZE 48u /* with quotes and NUL; the contract allows 120 bytes */
#define STORE_NAME_SIZE 65u
#define STORE_RESULTS_KEPT 10000            /* of one instance; older ones are dropped, their numbers stay used */
#define STORE_REPORTS_KEPT 8                /* of one instance: what went back in time shows beside what was before */
#define STORE_RESULTS_ANSWER_MAX (4u << 20) /* bytes of texts in one answer; `next` says where to go on */

enum store_role { STORE_READER, STORE_HELPDESK, STORE_OPERATOR };

struct store;

struct store_instance {
	unsigned char enrol_hash[STORE_HASH_SIZE];
	char *identity; /* the latched signed text, owned; NULL before */
	size_t identity_size;
};

/* A signed document, or the trust document (instance ""). */
struct store_document {
	int64_t seq; /* or version */
	char etag[STORE_ETAG_SIZE];
	char *text; /* owned */
	size_t size;
};

typedef int (*store_visitor)(void *context, const char *name, const char *text);
typedef int (*store_report_visitor)(void *context, int64_t received, const char *text);

int store_open(const char *path, struct store **ret_store) MUST_CHECK;
void store_close(struct store **store);
#define cleanup_store CLEANUP(store_close)

/* -EEXIST when the name is taken. */
int store_add_token(struct store *store, const char *name, enum store_role role,
	const unsigned char hash[STORE_HASH_SIZE], int64_t now) MUST_CHECK;
int store_delete_token(struct store *store, const char *name) MUST_CHECK;
/* Calls the visitor with each token's name and role, sorted. */
int store_list_tokens(struct store *store, store_visitor visitor, void *context) MUST_CHECK;
int store_find_token(struct store *store, const unsigned char hash[STORE_HASH_SIZE], enum store_role *ret_role,
	char ret_name[STORE_NAME_SIZE]) MUST_CHECK;

/* -EEXIST. */
int store_add_instance(struct store *store, const char *instance, const unsigned char enrol_hash[STORE_HASH_SIZE],
	int64_t now) MUST_CHECK;
/* Forgets the latched identity; the document and the results stay. */
int store_reset_instance(
	struct store *store, const char *instance, const unsigned char enrol_hash[STORE_HASH_SIZE]) MUST_CHECK;
int store_list_instances(struct store *store, store_visitor visitor, void *context) MUST_CHECK;
int store_get_instance(struct store *store, const char *instance, struct store_instance *ret_instance) MUST_CHECK;
void store_instance_free(struct store_instance *instance);
#define cleanup_store_instance CLEANUP(store_instance_free)
int store_put_identity(struct store *store, const char *instance, const char *text, size_t size) MUST_CHECK;

int store_get_document(struct store *store, const char *instance, struct store_document *ret_document) MUST_CHECK;
void store_document_free(struct store_document *document);
#define cleanup_store_document CLEANUP(store_document_free)
/* Replaces the document that has this etag (NULL: there must be none). -ESTALE when it is another. */
int store_put_document(struct store *store, const char *instance, const char *expected_etag,
	const struct store_document *document) MUST_CHECK;

/* 0 and whether it was new; a text that is there already stays once. */
int store_add_results(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now, bool *ret_new) MUST_CHECK;
/* How many results the instance ever sent. */
int store_count_results(struct store *store, const char *instance, int64_t *ret_count) MUST_CHECK;
/* Visits those after the first `after`, in order of arrival; ret_next is the number of the last one visited. */
int store_list_results(struct store *store, const char *instance, int64_t after, store_visitor visitor, void *context,
	int64_t *ret_next) MUST_CHECK;

/* A text that is there already stays as it is; the oldest beyond STORE_REPORTS_KEPT go. */
int store_add_report(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now) MUST_CHECK;
/* In order of arrival. */
int store_list_reports(
	struct store *store, const char *instance, store_report_visitor visitor, void *context) MUST_CHECK;
