/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define SCHEMA_VERSION 1
#define BUSY_TIMEOUT_MS 5000 /* `token add` beside a running server holds the file for a moment */

struct store {
	sqlite3 *database;
};

static const char schema[] =
	"CREATE TABLE tokens (name TEXT PRIMARY KEY, role INTEGER NOT NULL, hash BLOB NOT NULL UNIQUE, created "
	"INTEGER);"
	"CREATE TABLE instances (id TEXT PRIMARY KEY, enrol BLOB NOT NULL, identity BLOB, created INTEGER,"
	" results INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE documents (instance TEXT PRIMARY KEY, seq INTEGER NOT NULL, etag TEXT NOT NULL, text BLOB NOT "
	"NULL);"
	"CREATE TABLE results (instance TEXT NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, text BLOB NOT NULL,"
	" received INTEGER, PRIMARY KEY (instance, number), UNIQUE (instance, hash));"
	"PRAGMA user_version = 1;";

/* Came later; a latchkey-endpoint that does not know it opens the database all the same. */
static const char schema_reports[] =
	"CREATE TABLE IF NOT EXISTS reports (number INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL,"
	" hash BLOB NOT NULL, text BLOB NOT NULL, received INTEGER, UNIQUE (instance, hash));";

static int fail(struct store *store, const char *what)
{
	int code = sqlite3_extended_errcode(store->database);
	log_error("database: %s: %s", what, sqlite3_errmsg(store->database));
	return code == SQLITE_NOMEM ? -ENOMEM : code == SQLITE_FULL ? -ENOSPC : -EIO;
}

static void finalize_pointer(sqlite3_stmt **statement)
{
	(void)sqlite3_finalize(*statement);
}
#define cleanup_statement CLEANUP(finalize_pointer)

/* Arguments by letter: t text, i int64_t, b blob of STORE_HASH_SIZE, x blob with its size_t, n text or NULL. */
static int prepare(struct store *store, sqlite3_stmt **ret_statement, const char *sql, const char *letters, ...)
{
	cleanup_statement sqlite3_stmt *statement = NULL;
	va_list arguments;
	int r = SQLITE_OK;

	if (sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL) != SQLITE_OK)
		return fail(store, "prepare");
	va_start(arguments, letters);
	for (int i = 1; r == SQLITE_OK && letters[i - 1]; i++) {
		const void *bytes;
		switch (letters[i - 1]) {
		case 't':
			r = sqlite3_bind_text(statement, i, va_arg(arguments, const char *), -1, SQLITE_TRANSIENT);
			break;
		case 'i':
			r = sqlite3_bind_int64(statement, i, va_arg(arguments, int64_t));
			break;
		case 'b':
			bytes = va_arg(arguments, const void *);
			r = sqlite3_bind_blob(statement, i, bytes, (int)STORE_HASH_SIZE, SQLITE_TRANSIENT);
			break;
		default:
			bytes = va_arg(arguments, const void *);
			r = sqlite3_bind_blob64(statement, i, bytes, va_arg(arguments, size_t), SQLITE_TRANSIENT);
		}
	}
	va_end(arguments);
	if (r != SQLITE_OK)
		return fail(store, "bind");
	*ret_statement = statement;
	statement = NULL;
	return 0;
}

/* Runs a statement without rows: 0, -EEXIST on a constraint. */
static int finish(struct store *store, sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);
	if (r == SQLITE_DONE)
		return 0;
	if (r == SQLITE_CONSTRAINT)
		return -EEXIST;
	return fail(store, "step");
}

static int execute(struct store *store, const char *sql)
{
	return sqlite3_exec(store->database, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(store, sql);
}

static int take_blob(sqlite3_stmt *statement, int column, char **ret_bytes, size_t *ret_size)
{
	const void *blob = sqlite3_column_blob(statement, column);
	size_t size = (size_t)sqlite3_column_bytes(statement, column);
	char *bytes = malloc(size + 1);

	if (!bytes)
		return -ENOMEM;
	if (size > 0)
		memcpy(bytes, blob, size);
	bytes[size] = '\0';
	*ret_bytes = bytes;
	*ret_size = size;
	return 0;
}

/* 1 with a row, 0 without, negative errno. */
static int step(struct store *store, sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);
	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : fail(store, "step");
}

static int make_schema(struct store *store)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "PRAGMA user_version", "");
	if (r < 0)
		return r;
	r = step(store, statement);
	if (r < 0)
		return r;
	int version = sqlite3_column_int(statement, 0);
	if (version == SCHEMA_VERSION)
		return 0;
	if (version != 0) {
		log_error("database: made by another version of latchkey-endpoint (schema %d)", version);
		return -EPROTONOSUPPORT;
	}
	r = execute(store, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	r = execute(store, schema);
	if (r < 0) {
		(void)execute(store, "ROLLBACK");
		return r;
	}
	return execute(store, "COMMIT");
}

/*
 * A new database made by root (token add before the service has ever run) is its directory's owner's: else the service,
 * which is that one, could not open it. SQLite gives the files beside it to the same.
 */
static int make_for_owner(const char *path)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat status;

	if (!folder)
		return -ENOMEM;
	if (geteuid() != 0)
		return 0;
	cleanup_close int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return 0; /* SQLite says why */
	cleanup_close int file =
		openat(directory, slash ? slash + 1 : path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return 0;
	return fstat(directory, &status) < 0 || fchown(file, status.st_uid, status.st_gid) < 0 ? -errno : 0;
}

int store_open(const char *path, struct store **ret_store)
{
	cleanup_store struct store *store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	int r = make_for_owner(path);
	if (r < 0) {
		log_error("%s: %s", path, strerror(-r));
		return r;
	}
	mode_t mask = umask(077); /* SQLite makes its files with this mask */
	r = sqlite3_open_v2(
		path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, NULL);
	if (r != SQLITE_OK) {
		log_error("%s: %s", path, store->database ? sqlite3_errmsg(store->database) : "out of memory");
		(void)umask(mask);
		return -EIO;
	}
	(void)sqlite3_busy_timeout(store->database, BUSY_TIMEOUT_MS);
	r = execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
	if (r == 0)
		r = make_schema(store);
	if (r == 0)
		r = execute(store, schema_reports);
	(void)umask(mask);
	if (r < 0)
		return r;
	*ret_store = steal_pointer(&store);
	return 0;
}

void store_close(struct store **store)
{
	if (!*store)
		return;
	(void)sqlite3_close(steal_pointer(&(*store)->database));
	free(*store);
	*store = NULL;
}

int store_add_token(struct store *store, const char *name, enum store_role role,
	const unsigned char hash[STORE_HASH_SIZE], int64_t now)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(
		store, &statement, "INSERT INTO tokens VALUES (?,?,?,?)", "tibi", name, (int64_t)role, hash, now);
	if (r < 0)
		return r;
	return finish(store, statement);
}

int store_delete_token(struct store *store, const char *name)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "DELETE FROM tokens WHERE name = ?", "t", name);
	if (r < 0)
		return r;
	r = finish(store, statement);
	if (r < 0)
		return r;
	return sqlite3_changes(store->database) > 0 ? 0 : -ENOENT;
}

int store_list_tokens(struct store *store, store_visitor visitor, void *context)
{
	static const char *const roles[] = {"reader", "helpdesk", "operator"};
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "SELECT name, role FROM tokens ORDER BY name", "");
	if (r < 0)
		return r;
	while ((r = step(store, statement)) > 0) {
		int64_t role = sqlite3_column_int64(statement, 1);
		r = visitor(context, (const char *)sqlite3_column_text(statement, 0),
			role >= 0 && role <= STORE_OPERATOR ? roles[role] : "?");
		if (r < 0)
			return r;
	}
	return r;
}

int store_find_token(struct store *store, const unsigned char hash[STORE_HASH_SIZE], enum store_role *ret_role,
	char ret_name[STORE_NAME_SIZE])
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "SELECT role, name FROM tokens WHERE hash = ?", "b", hash);
	if (r < 0)
		return r;
	r = step(store, statement);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	int64_t role = sqlite3_column_int64(statement, 0);
	if (role < STORE_READER || role > STORE_OPERATOR)
		return -ENOENT;
	*ret_role = (enum store_role)role;
	(void)snprintf(ret_name, STORE_NAME_SIZE, "%s", (const char *)sqlite3_column_text(statement, 1));
	return 0;
}

int store_add_instance(
	struct store *store, const char *instance, const unsigned char enrol_hash[STORE_HASH_SIZE], int64_t now)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "INSERT INTO instances (id, enrol, created) VALUES (?,?,?)", "tbi", instance,
		enrol_hash, now);
	if (r < 0)
		return r;
	return finish(store, statement);
}

int store_reset_instance(struct store *store, const char *instance, const unsigned char enrol_hash[STORE_HASH_SIZE])
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "UPDATE instances SET identity = NULL, enrol = ? WHERE id = ?", "bt",
		enrol_hash, instance);
	if (r < 0)
		return r;
	r = finish(store, statement);
	if (r < 0)
		return r;
	return sqlite3_changes(store->database) > 0 ? 0 : -ENOENT;
}

int store_list_instances(struct store *store, store_visitor visitor, void *context)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "SELECT id FROM instances ORDER BY id", "");
	if (r < 0)
		return r;
	while ((r = step(store, statement)) > 0) {
		r = visitor(context, (const char *)sqlite3_column_text(statement, 0), NULL);
		if (r < 0)
			return r;
	}
	return r;
}

int store_get_instance(struct store *store, const char *instance, struct store_instance *ret_instance)
{
	cleanup_statement sqlite3_stmt *statement = NULL;
	struct store_instance found = {0};

	int r = prepare(store, &statement, "SELECT enrol, identity FROM instances WHERE id = ?", "t", instance);
	if (r < 0)
		return r;
	r = step(store, statement);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	if (sqlite3_column_bytes(statement, 0) != (int)STORE_HASH_SIZE)
		return -EIO;
	memcpy(found.enrol_hash, sqlite3_column_blob(statement, 0), STORE_HASH_SIZE);
	if (sqlite3_column_type(statement, 1) != SQLITE_NULL) {
		r = take_blob(statement, 1, &found.identity, &found.identity_size);
		if (r < 0)
			return r;
	}
	*ret_instance = found;
	return 0;
}

void store_instance_free(struct store_instance *instance)
{
	free(instance->identity);
	*instance = (struct store_instance){0};
}

int store_put_identity(struct store *store, const char *instance, const char *text, size_t size)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(
		store, &statement, "UPDATE instances SET identity = ? WHERE id = ?", "xt", text, size, instance);
	if (r < 0)
		return r;
	r = finish(store, statement);
	if (r < 0)
		return r;
	return sqlite3_changes(store->database) > 0 ? 0 : -ENOENT;
}

int store_get_document(struct store *store, const char *instance, struct store_document *ret_document)
{
	cleanup_statement sqlite3_stmt *statement = NULL;
	struct store_document found = {0};

	int r = prepare(store, &statement, "SELECT seq, etag, text FROM documents WHERE instance = ?", "t", instance);
	if (r < 0)
		return r;
	r = step(store, statement);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	found.seq = sqlite3_column_int64(statement, 0);
	(void)snprintf(found.etag, sizeof(found.etag), "%s", (const char *)sqlite3_column_text(statement, 1));
	r = take_blob(statement, 2, &found.text, &found.size);
	if (r < 0)
		return r;
	*ret_document = found;
	return 0;
}

void store_document_free(struct store_document *document)
{
	free(document->text);
	*document = (struct store_document){0};
}

int store_put_document(
	struct store *store, const char *instance, const char *expected_etag, const struct store_document *document)
{
	cleanup_statement sqlite3_stmt *statement = NULL;
	int r;

	if (expected_etag)
		r = prepare(store, &statement,
			"UPDATE documents SET seq = ?, etag = ?, text = ? WHERE instance = ? AND etag = ?", "itxtt",
			document->seq, document->etag, document->text, document->size, instance, expected_etag);
	else
		r = prepare(store, &statement, "INSERT INTO documents (seq, etag, text, instance) VALUES (?,?,?,?)",
			"itxt", document->seq, document->etag, document->text, document->size, instance);
	if (r < 0)
		return r;
	r = finish(store, statement);
	if (r == -EEXIST || (r == 0 && sqlite3_changes(store->database) == 0))
		return -ESTALE;
	return r;
}

static int insert_results(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now)
{
	cleanup_statement sqlite3_stmt *count = NULL, *insert = NULL, *prune = NULL;

	int r = prepare(store, &count, "UPDATE instances SET results = results + 1 WHERE id = ?", "t", instance);
	if (r < 0)
		return r;
	r = finish(store, count);
	if (r < 0)
		return r;
	r = prepare(store, &insert,
		"INSERT INTO results (instance, number, hash, text, received)"
		" SELECT id, results, ?, ?, ? FROM instances WHERE id = ?",
		"bxit", hash, text, size, now, instance);
	if (r < 0)
		return r;
	r = finish(store, insert);
	if (r < 0)
		return r;
	if (sqlite3_changes(store->database) == 0)
		return -ENOENT;
	r = prepare(store, &prune,
		"DELETE FROM results WHERE instance = ?1"
		" AND number <= (SELECT results FROM instances WHERE id = ?1) - ?2",
		"ti", instance, (int64_t)STORE_RESULTS_KEPT);
	if (r < 0)
		return r;
	return finish(store, prune);
}

int store_add_results(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now, bool *ret_new)
{
	int r = execute(store, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	r = insert_results(store, instance, hash, text, size, now);
	if (r < 0) {
		(void)execute(store, "ROLLBACK");
		if (r != -EEXIST)
			return r;
		*ret_new = false;
		return 0;
	}
	r = execute(store, "COMMIT");
	if (r < 0) {
		(void)execute(store, "ROLLBACK");
		return r;
	}
	*ret_new = true;
	return 0;
}

int store_count_results(struct store *store, const char *instance, int64_t *ret_count)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "SELECT results FROM instances WHERE id = ?", "t", instance);
	if (r < 0)
		return r;
	r = step(store, statement);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret_count = sqlite3_column_int64(statement, 0);
	return 0;
}

int store_list_results(struct store *store, const char *instance, int64_t after, store_visitor visitor, void *context,
	int64_t *ret_next)
{
	cleanup_statement sqlite3_stmt *statement = NULL;
	int64_t next = after;
	size_t total = 0;

	int r = prepare(store, &statement,
		"SELECT number, text FROM results WHERE instance = ? AND number > ? ORDER BY number", "ti", instance,
		after);
	if (r < 0)
		return r;
	while ((r = step(store, statement)) > 0) {
		cleanup_free char *text = NULL;
		size_t size;
		r = take_blob(statement, 1, &text, &size);
		if (r < 0)
			return r;
		total += size;
		if (next > after && total > STORE_RESULTS_ANSWER_MAX)
			break;
		next = sqlite3_column_int64(statement, 0);
		r = visitor(context, NULL, text);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_next = next;
	return 0;
}

static int insert_report(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now)
{
	cleanup_statement sqlite3_stmt *insert = NULL, *prune = NULL;

	int r = prepare(store, &insert, "INSERT INTO reports (instance, hash, text, received) VALUES (?,?,?,?)", "tbxi",
		instance, hash, text, size, now);
	if (r == 0)
		r = finish(store, insert);
	if (r < 0)
		return r;
	r = prepare(store, &prune,
		"DELETE FROM reports WHERE instance = ?1 AND number NOT IN"
		" (SELECT number FROM reports WHERE instance = ?1 ORDER BY number DESC LIMIT ?2)",
		"ti", instance, (int64_t)STORE_REPORTS_KEPT);
	return r < 0 ? r : finish(store, prune);
}

int store_add_report(struct store *store, const char *instance, const unsigned char hash[STORE_HASH_SIZE],
	const char *text, size_t size, int64_t now)
{
	int r = execute(store, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	r = insert_report(store, instance, hash, text, size, now);
	if (r == 0)
		r = execute(store, "COMMIT");
	if (r < 0)
		(void)execute(store, "ROLLBACK");
	return r == -EEXIST ? 0 : r;
}

int store_list_reports(struct store *store, const char *instance, store_report_visitor visitor, void *context)
{
	cleanup_statement sqlite3_stmt *statement = NULL;

	int r = prepare(store, &statement, "SELECT received, text FROM reports WHERE instance = ? ORDER BY number", "t",
		instance);
	if (r < 0)
		return r;
	while ((r = step(store, statement)) > 0) {
		cleanup_free char *text = NULL;
		size_t size;
		r = take_blob(statement, 1, &text, &size);
		if (r == 0)
			r = visitor(context, sqlite3_column_int64(statement, 0), text);
		if (r < 0)
			return r;
	}
	return r;
}
