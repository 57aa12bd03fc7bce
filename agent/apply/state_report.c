/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/state_report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "agent/apply/identity.h"
#include "agent/apply/login_check.h"
#include "agent/apply/sshd_paths.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sshsig.h"

#define FOLDER "report"
#define TEXT "text"
#define CONTENT "content"
#define USERS_MAX (192u << 10)       /* bytes; more are counted and not named */
#define KEYS_MAX (512u << 10)        /* the same; with everything else far below the link's and endpoint's 1 MiB */
#define CONTENT_MAX (1u << 20)       /* both and the rest */
#define EVERY 86400                  /* seconds: a machine that reports nothing for longer has gone */
#define JITTER_PART 10               /* of them: the clones of one image do not all report at once */
#define NAMES_MAX 64u                /* in the folder; there are three */
#define PROBLEM_ENDPOINT "endpoint_" /* who gets the report was reached, and one that flaps must not cause reports */

void state_report_add_user(
	struct state_report *report, const char *user, int64_t uid, bool can_by_key, bool can_by_password)
{
	struct json_writer writer = {&report->users, report->users.size > 0};

	report->user_count++;
	if (report->users.size > USERS_MAX)
		return;
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "user", user);
	if (uid >= 0)
		json_put_integer(&writer, "uid", uid);
	json_put_bool(&writer, "key", can_by_key);
	json_put_bool(&writer, "password", can_by_password);
	json_end_object(&writer);
}

void state_report_add_key(struct state_report *report, const cJSON *line)
{
	static const char *const members[] = {"user", "keypair", "fingerprint", "state"};
	struct json_writer writer = {&report->keys, report->keys.size > 0};
	const char *state = "";

	(void)!json_get_string(line, "state", &state);
	report->key_count++;
	report->missing += strcmp(state, "missing") == 0;
	report->foreign += strcmp(state, "foreign") == 0;
	report->inherited += strcmp(state, "inherited") == 0;
	if (report->keys.size > KEYS_MAX)
		return;
	json_begin_object(&writer, NULL);
	for (unsigned i = 0; i < ELEMENTS(members); i++) {
		const char *text;
		if (json_get_string(line, members[i], &text) == 0)
			json_put_string(&writer, members[i], text);
	}
	json_end_object(&writer);
}

void state_report_free(struct state_report *report)
{
	buffer_free(&report->users);
	buffer_free(&report->keys);
}

static void hash_text(crypto_hash_sha256_state *hash, const char *text)
{
	/* With its NUL, so that no two lists of texts give the same bytes. */
	(void)crypto_hash_sha256_update(hash, (const unsigned char *)text, strlen(text) + 1);
}

/* Of the values in force, whatever files they stand in: two machines with one policy have one digest. */
static void digest_policy(const struct config *config, char ret_digest[DIGEST_SIZE])
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state hash;

	(void)crypto_hash_sha256_init(&hash);
	for (size_t i = 0; i < config->table->count; i++) {
		if (!config->values[i])
			continue;
		hash_text(&hash, config->table->keys[i].section);
		hash_text(&hash, config->table->keys[i].key);
		hash_text(&hash, config->values[i]);
	}
	for (size_t i = 0; i < config->named_count; i++) {
		hash_text(&hash, config->named[i].name);
		hash_text(&hash, config->table->keys[config->named[i].key].key);
		hash_text(&hash, config->named[i].value);
	}
	(void)crypto_hash_sha256_final(&hash, digest);
	(void)sodium_bin2hex(ret_digest, DIGEST_SIZE, digest, sizeof(digest));
}

static void put_list(struct json_writer *writer, const char *key, const struct buffer *list)
{
	json_begin_array(writer, key);
	if (list->size > 0)
		buffer_append(writer->out, list->bytes, list->size);
	json_end_array(writer);
}

static void put_problems(struct json_writer *writer, const cJSON *status)
{
	const cJSON *problems = NULL, *problem;

	(void)!json_get_array(status, "problems", &problems);
	json_begin_array(writer, "problems");
	cJSON_ArrayForEach(problem, problems)
	{
		const char *code;
		if (json_get_string(problem, "code", &code) == 0 &&
			strncmp(code, PROBLEM_ENDPOINT, strlen(PROBLEM_ENDPOINT)) != 0)
			json_put_string(writer, NULL, code);
	}
	json_end_array(writer);
}

/* Everything but the time and the closing brace. */
static int build(const struct apply *apply, const struct state_report *report, const cJSON *status, const cJSON *sshd,
	int64_t trust_version, struct buffer *content)
{
	struct json_writer writer = {content, false};
	const char *mode = "";
	char digest[DIGEST_SIZE];
	int64_t generation;

	int r = identity_generation(apply, &generation);
	if (r < 0)
		return r;
	(void)!json_get_string(status, "mode", &mode);
	digest_policy(&apply->policy.config, digest);
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "instance", apply->instance);
	json_put_integer(&writer, "generation", generation);
	json_put_string(&writer, "agent", LATCHKEY_VERSION);
	json_put_string(&writer, "mode", mode);
	json_put_string(&writer, "policy", digest);
	json_put_integer(&writer, "trust", trust_version);
	json_put_integer(&writer, "seq", apply->floors.seq);
	json_put_integer(&writer, "floor", apply->floors.issued);
	if (sshd)
		json_put_value(&writer, "sshd", sshd);
	json_put_integer(&writer, "user_count", report->user_count);
	put_list(&writer, "users", &report->users);
	json_put_integer(&writer, "key_count", report->key_count);
	put_list(&writer, "keys", &report->keys);
	json_begin_object(&writer, "drift");
	json_put_integer(&writer, "missing", report->missing);
	json_put_integer(&writer, "foreign", report->foreign);
	json_put_integer(&writer, "inherited", report->inherited);
	json_end_object(&writer);
	put_problems(&writer, status);
	return buffer_status(content);
}

/* A number that a name begins with; 0 for another name. */
static int64_t deadline_of(const char *name)
{
	int64_t deadline = 0;

	for (const char *at = name; *at >= '0' && *at <= '9' && at - name < 16; at++)
		deadline = deadline * 10 + (*at - '0');
	return deadline;
}

/* True when none is known, when it has passed, or when a clock that was wrong for a while has left it behind. */
static bool is_due(const struct apply *apply, char *const *names)
{
	int64_t deadline = 0;

	for (; *names; names++)
		deadline = deadline_of(*names) > 0 ? deadline_of(*names) : deadline;
	return deadline <= apply->clock || deadline > apply->clock + EVERY;
}

static int schedule(const struct apply *apply, int directory, char *const *names)
{
	uint32_t random = 0;
	char next[24];
	int r = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = UINT32_MAX / 2;
	int64_t early = (int64_t)((uint64_t)EVERY / JITTER_PART * random / UINT32_MAX);
	(void)snprintf(next, sizeof(next), "%" PRIi64, apply->clock + EVERY - early);
	for (; r == 0 && *names; names++) {
		if (deadline_of(*names) > 0)
			r = file_remove(directory, *names);
	}
	return r < 0 ? r : file_replace_simple(directory, next, "", 0, 0600);
}

static int sign(const struct apply *apply, int directory, struct buffer *content)
{
	cleanup_buffer struct buffer text = {0};

	buffer_append(&text, content->bytes, content->size);
	buffer_append_format(&text, ",\"time\":%" PRIi64 "}\n", apply->now);
	int r = identity_sign(apply, SSHSIG_REPORT, &text);
	return r < 0 ? r : file_replace_simple(directory, TEXT, text.bytes, text.size, 0600);
}

/* What the last report said of sshd, unless its files have changed since. */
static cJSON *known_sshd(const struct apply *apply, int directory, const char *content, size_t size)
{
	cleanup_buffer struct buffer text = {0};
	cleanup_json cJSON *root = NULL;
	struct stat status;

	if (size == 0 || fstatat(directory, CONTENT, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
		sshd_paths_changed_since(apply, &status.st_mtim))
		return NULL;
	buffer_append(&text, content, size);
	buffer_append_text(&text, "}");
	if (buffer_status(&text) < 0 || json_parse_object(text.bytes, text.size, &root) < 0)
		return NULL;
	return cJSON_DetachItemFromObjectCaseSensitive(root, "sshd");
}

int state_report_write(
	const struct apply *apply, struct state_report *report, const struct buffer *status_text, int64_t trust_version)
{
	cleanup_json cJSON *status = NULL, *sshd = NULL;
	cleanup_buffer struct buffer content = {0};
	cleanup_names char **names = NULL;
	cleanup_close int directory = -1;
	cleanup_free char *old = NULL;
	size_t count, old_size = 0;

	if (apply->run < 0 || apply->state < 0)
		return 0; /* without the state there is no key to sign with */
	int r = buffer_status(&report->users);
	if (r == 0)
		r = buffer_status(&report->keys);
	if (r == 0)
		r = json_parse_object(status_text->bytes, status_text->size, &status);
	if (r == 0)
		r = file_make_directory(apply->run, FOLDER, 0700, &directory);
	if (r == 0)
		r = file_list(directory, ".", NAMES_MAX, &names, &count);
	if (r < 0)
		return r;
	if (file_read(directory, CONTENT, CONTENT_MAX, &old, &old_size) < 0)
		old_size = 0;
	bool due = old_size == 0 || is_due(apply, names);
	if (!due)
		sshd = known_sshd(apply, directory, old, old_size);
	bool asked = !sshd;
	if (asked && login_about_sshd(apply, &sshd) != CODE_OK)
		log_debug("the report says nothing of sshd");
	r = build(apply, report, status, sshd, trust_version, &content);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* no identity yet */
	bool same = content.size == old_size && memcmp(content.bytes, old, old_size) == 0;
	if (same && !due) /* its time says since when sshd need not be asked */
		return asked ? file_replace_simple(directory, CONTENT, old, old_size, 0600) : 0;
	r = sign(apply, directory, &content);
	/* After the text: a crash in between only makes it once more. */
	if (r == 0)
		r = file_replace_simple(directory, CONTENT, content.bytes, content.size, 0600);
	return r == 0 ? schedule(apply, directory, names) : r;
}
