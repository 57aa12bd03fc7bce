/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/trust.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/log_event.h"
#include "lib/sshsig.h"

#define TRUST_TEXT_MAX (512u << 10)
#define LAST_GOOD "allowed_signers"
#define DOCUMENT "document"

/* A list of signers that root owns and nobody else can write; missing is empty. */
static int read_list(int root, const char *name, char **ret_text, size_t *ret_size)
{
	cleanup_close int directory = -1, descriptor = -1;
	struct stat status;

	int r = file_open_directory(root, "etc/latchkey", &directory);
	if (r == 0)
		r = file_open(directory, name, &descriptor, &status);
	if (r == -ENOENT) {
		*ret_text = strdup("");
		*ret_size = 0;
		return *ret_text ? 0 : -ENOMEM;
	}
	if (r < 0)
		return r;
	if (status.st_uid != 0 || (status.st_mode & 022) != 0)
		return -EPERM;
	return file_read_descriptor(descriptor, ALLOWED_SIGNERS_SIZE_MAX, ret_text, ret_size);
}

static void keep_last_good(int directory, const char *text, size_t size)
{
	cleanup_free char *old = NULL;
	size_t old_size;

	if (file_read(directory, LAST_GOOD, ALLOWED_SIGNERS_SIZE_MAX, &old, &old_size) == 0 && old_size == size &&
		memcmp(old, text, size) == 0)
		return;
	int r = file_replace_simple(directory, LAST_GOOD, text, size, 0600);
	if (r < 0)
		log_warning("cannot keep the last good allowed_signers: %s", strerror(-r));
}

static int load_signers(const struct apply *apply, int directory, struct trust *trust)
{
	char reason[ALLOWED_SIGNERS_REASON_MAX] = "";
	cleanup_free char *text = NULL, *good = NULL;
	unsigned line = 0;
	size_t size, good_size;

	int r = read_list(apply->root, "allowed_signers", &text, &size);
	if (r == 0)
		r = allowed_signers_parse(text, size, &trust->signers, &line, reason);
	else
		(void)snprintf(reason, sizeof(reason), "%s",
			r == -EPERM ? "it must belong to root and be writable by root only" : strerror(-r));
	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		if (directory >= 0)
			keep_last_good(directory, text, size);
		return 0;
	}
	(void)snprintf(trust->problem, sizeof(trust->problem), "allowed_signers:%u: %s", line, reason);
	log_error("allowed_signers is refused, the last good one stays in force: line %u: %s", line, reason);
	if (directory < 0 || file_read(directory, LAST_GOOD, ALLOWED_SIGNERS_SIZE_MAX, &good, &good_size) < 0)
		return 0;
	return allowed_signers_parse(good, good_size, &trust->signers, &line, reason);
}

/* Shape of the trust document's payload. */
static int read_document(const char *text, size_t size, struct trust *trust)
{
	static const char *const members[] = {"v", "version", "signers", "revoked", NULL};
	struct signed_text parts;
	const cJSON *list;
	int64_t version;

	if (signed_text_split(text, size, &parts) != CODE_OK)
		return -EBADMSG;
	int r = json_parse_object(parts.payload.text, parts.payload.size, &trust->document);
	if (r < 0)
		return r;
	if (json_only_members(trust->document, members, NULL) < 0 ||
		json_get_integer(trust->document, "v", &version) < 0 || version != 1 ||
		json_get_integer(trust->document, "version", &trust->version) < 0 || trust->version < 1 ||
		json_get_array(trust->document, "revoked", &list) < 0 ||
		cJSON_GetArraySize(list) > (int)TRUST_REVOKED_MAX ||
		json_get_array(trust->document, "signers", &list) < 0 ||
		cJSON_GetArraySize(list) > (int)ALLOWED_SIGNERS_MAX)
		return -EBADMSG;
	return 0;
}

static bool is_revoked(const struct trust *trust, const char *fingerprint)
{
	const cJSON *list, *element;

	if (!trust->document || json_get_array(trust->document, "revoked", &list) < 0)
		return false;
	cJSON_ArrayForEach(element, list)
	{
		if (cJSON_IsString(element) && strcmp(element->valuestring, fingerprint) == 0)
			return true;
	}
	return false;
}

int trust_add_document(struct trust *trust, const char *text, size_t size)
{
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	const cJSON *list, *element;
	bool alone = trust->signers.count == 0;

	int r = read_document(text, size, trust);
	if (r == 0)
		r = json_get_array(trust->document, "signers", &list);
	if (r < 0)
		return r;
	/* Who was given a new key keeps his name. */
	for (size_t i = trust->signers.count; i > 0; i--) {
		if (is_revoked(trust, trust->signers.entries[i - 1].fingerprint))
			allowed_signers_remove(&trust->signers, i - 1);
	}
	cJSON_ArrayForEach(element, list)
	{
		if (!cJSON_IsString(element))
			return -EBADMSG;
		r = allowed_signers_append(&trust->signers, element->valuestring, strlen(element->valuestring), reason);
		if (alone && (r == -EEXIST || r == -ENOTUNIQ))
			return -EBADMSG;
		if (r == -ENOTUNIQ && !trust->problem[0])
			(void)snprintf(trust->problem, sizeof(trust->problem),
				"a signer of the trust document is not in force: allowed_signers has its name with "
				"another key");
		if (r < 0 && r != -EEXIST && r != -ENOTUNIQ)
			return r;
	}
	return 0;
}

int trust_load(const struct apply *apply, struct trust *ret_trust)
{
	cleanup_trust struct trust trust = {0};
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size;

	if (apply_state_directory(apply, "trust", &directory) < 0)
		directory = -1;
	int r = load_signers(apply, directory, &trust);
	if (r < 0)
		return r;
	if (directory >= 0)
		r = file_read(directory, DOCUMENT, TRUST_TEXT_MAX, &text, &size);
	/* An unreadable list of revocations must not mean "nothing is revoked". */
	if (r < 0 && r != -ENOENT)
		return r;
	if (text) {
		r = trust_add_document(&trust, text, size);
		if (r < 0)
			return r;
	}
	*ret_trust = trust;
	trust = (struct trust){0};
	return 0;
}

void trust_free(struct trust *trust)
{
	allowed_signers_free(&trust->signers);
	cJSON_Delete(trust->document);
	*trust = (struct trust){0};
}

enum code trust_check(const struct trust *trust, const char *instance, const unsigned char *key, size_t key_size,
	int64_t now, const struct allowed_signer **ret_signer, char *detail)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";

	sshkey_fingerprint(key, key_size, fingerprint);
	if (is_revoked(trust, fingerprint)) {
		(void)snprintf(detail, DETAIL_MAX + 1, "%s is revoked", fingerprint);
		return CODE_SIGNER_REVOKED;
	}
	enum code code =
		allowed_signers_check(&trust->signers, instance, SSHSIG_DOCUMENT, key, key_size, now, ret_signer);
	if (code == CODE_NO_SIGNERS)
		(void)snprintf(
			detail, DETAIL_MAX + 1, "no signer is allowed: add a line to /etc/latchkey/allowed_signers");
	else if (code != CODE_OK)
		(void)snprintf(detail, DETAIL_MAX + 1, "%s may not sign for this instance%s", fingerprint,
			code == CODE_SIGNER_EXPIRED ? " now" : "");
	return code;
}

/* How many different trust roots signed these bytes. */
static unsigned count_roots(
	const struct apply *apply, const struct signed_text *parts, const struct allowed_signers *roots)
{
	const struct allowed_signer *seen[SIGNED_TEXT_SIGNATURES_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < parts->count; i++) {
		cleanup_sshsig struct sshsig signature = {0};
		const struct allowed_signer *root;
		bool repeated = false;
		if (sshsig_parse(parts->signatures[i].text, parts->signatures[i].size, &signature) != CODE_OK ||
			sshsig_verify(&signature, SSHSIG_TRUST, parts->payload.text, parts->payload.size) != CODE_OK ||
			allowed_signers_check(roots, apply->instance, SSHSIG_TRUST, signature.key.bytes,
				signature.key.size, apply->now, &root) != CODE_OK)
			continue;
		for (unsigned j = 0; j < count; j++)
			repeated = repeated || seen[j] == root;
		if (!repeated)
			seen[count++] = root;
	}
	return count;
}

int trust_take_over(struct apply *apply, const char *text, size_t size)
{
	cleanup_trust struct trust current = {0}, fresh = {0};
	cleanup_allowed_signers struct allowed_signers roots = {0};
	char reason[ALLOWED_SIGNERS_REASON_MAX] = "";
	cleanup_close int directory = -1;
	cleanup_free char *roots_text = NULL;
	struct signed_text parts;
	size_t roots_size;
	unsigned line;

	int64_t threshold = config_integer(&apply->config, "agent", "trust_threshold");
	if (signed_text_split(text, size, &parts) != CODE_OK) {
		log_warning("the trust document is not a signed text");
		return EXIT_REFUSED;
	}
	int r = read_list(apply->root, "trust_roots", &roots_text, &roots_size);
	if (r == 0)
		r = allowed_signers_parse(roots_text, roots_size, &roots, &line, reason);
	if (r < 0) {
		log_error("trust_roots is refused: %s %s", strerror(-r), reason);
		return EXIT_REFUSED;
	}
	unsigned count = count_roots(apply, &parts, &roots);
	if (count < (unsigned)threshold) {
		log_warning(
			"the trust document is signed by %u trust roots, %lld are needed", count, (long long)threshold);
		return EXIT_REFUSED;
	}
	r = trust_add_document(&fresh, text, size);
	if (r < 0) {
		log_warning("the trust document breaks the format's rules");
		return EXIT_REFUSED;
	}
	r = trust_load(apply, &current);
	/* A damaged one may be replaced, or nothing would ever be trusted again. */
	if (r < 0 && r != -EBADMSG) {
		log_error("the trust document in force cannot be read (%s): no other takes its place", strerror(-r));
		return EXIT_TRY_AGAIN;
	}
	if (fresh.version < current.version) {
		log_warning(
			"trust document %lld is older than %lld", (long long)fresh.version, (long long)current.version);
		return EXIT_REFUSED;
	}
	if (fresh.version == current.version)
		return EXIT_TAKEN_OVER;
	r = apply_state_directory(apply, "trust", &directory);
	if (r == 0)
		r = file_replace_simple(directory, DOCUMENT, text, size, 0600);
	if (r < 0) {
		log_error("cannot keep trust document %lld: %s", (long long)fresh.version, strerror(-r));
		return EXIT_TRY_AGAIN;
	}
	log_event(
		LOG_EVENT_TRUST_CHANGED, LOG_NOTICE, NULL, "trust document %lld is in force", (long long)fresh.version);
	return EXIT_TAKEN_OVER;
}
