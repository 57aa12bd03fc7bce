/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/hash.h"

#include <crypt.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static bool is_crypt64(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/';
}

/* Exactly `low` to `high` characters of crypt's alphabet, then `end`. Moves on behind it. */
static bool take_run(const char **at, size_t low, size_t high, char end)
{
	size_t size = 0;

	while (size <= high && is_crypt64((*at)[size]))
		size++;
	if (size < low || size > high || (*at)[size] != end)
		return false;
	*at += size + (end ? 1 : 0);
	return true;
}

/* What libxcrypt's own costs 1 to 7 give; above, one check takes seconds and hundreds of megabytes. */
static enum code check_yescrypt(const char *at)
{
	static const char *const parameters[] = {"j75", "j85", "j7T", "j8T", "j9T", "jAT", "jBT"};
	const char *start = at;

	if (!take_run(&at, 1, 16, '$') || !take_run(&at, 1, 86, '$') || !take_run(&at, 43, 43, '\0'))
		return CODE_HASH_INVALID;
	for (unsigned i = 0; i < ELEMENTS(parameters); i++) {
		if (strncmp(start, parameters[i], 3) == 0 && start[3] == '$')
			return CODE_OK;
	}
	return CODE_HASH_COST;
}

static enum code check_sha(const char *at, size_t digest)
{
	static const char prefix[] = "rounds=";
	uint64_t rounds = 5000;

	if (strncmp(at, prefix, strlen(prefix)) == 0) {
		at += strlen(prefix);
		if (*at < '1' || *at > '9')
			return CODE_HASH_INVALID;
		for (rounds = 0; *at >= '0' && *at <= '9' && rounds < UINT32_MAX; at++)
			rounds = rounds * 10 + (uint64_t)(*at - '0');
		if (*at++ != '$' || rounds < 1000)
			return CODE_HASH_INVALID;
	}
	if (!take_run(&at, 1, 16, '$') || !take_run(&at, digest, digest, '\0'))
		return CODE_HASH_INVALID;
	return rounds > HASH_SHA_ROUNDS_MAX ? CODE_HASH_COST : CODE_OK;
}

static enum code check_bcrypt(const char *at)
{
	if (at[0] < '0' || at[0] > '3' || at[1] < '0' || at[1] > '9' || at[2] != '$')
		return CODE_HASH_INVALID;
	unsigned cost = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
	at += 3;
	if (!take_run(&at, 53, 53, '\0') || cost < 4 || cost > 31)
		return CODE_HASH_INVALID;
	return cost > HASH_BCRYPT_COST_MAX ? CODE_HASH_COST : CODE_OK;
}

static bool is_old_des(const char *hash)
{
	return take_run(&hash, 13, 13, '\0');
}

static enum code check_grammar(const char *hash)
{
	if (strncmp(hash, "$y$", 3) == 0)
		return check_yescrypt(hash + 3);
	if (strncmp(hash, "$gy$", 4) == 0)
		return check_yescrypt(hash + 4);
	if (strncmp(hash, "$6$", 3) == 0)
		return check_sha(hash + 3, 86);
	if (strncmp(hash, "$5$", 3) == 0)
		return check_sha(hash + 3, 43);
	if (strncmp(hash, "$2a$", 4) == 0 || strncmp(hash, "$2b$", 4) == 0 || strncmp(hash, "$2y$", 4) == 0)
		return check_bcrypt(hash + 4);
	/* A method that is too weak, or that we know no bound for: say so rather than "not a hash". */
	const char *at = hash;
	if (*at == '$') {
		at++;
		size_t method = strcspn(at, "$,");
		if (method > 0 && method <= 8 && at[method] != '\0')
			return CODE_HASH_UNSUPPORTED;
	}
	return is_old_des(hash) ? CODE_HASH_UNSUPPORTED : CODE_HASH_INVALID;
}

enum code hash_check(const char *hash)
{
	if (strnlen(hash, HASH_SIZE_MAX) == HASH_SIZE_MAX || *hash == '\0')
		return CODE_HASH_INVALID;
	for (const char *at = hash; *at; at++) {
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f || strchr(":*!\\", *at))
			return CODE_HASH_INVALID;
	}
	enum code code = check_grammar(hash);
	if (code != CODE_OK)
		return code;
	int local = crypt_checksalt(hash);
	/* libxcrypt counts SHA-256 among the legacy methods; it is not broken, and older images have nothing else. */
	return local == CRYPT_SALT_OK || local == CRYPT_SALT_METHOD_LEGACY ? CODE_OK : CODE_HASH_UNSUPPORTED;
}

static void wipe_crypt(struct crypt_data **work)
{
	if (*work)
		explicit_bzero(*work, sizeof(**work));
	free(*work);
}

/* Hashes again with the finished hash as setting. 0 when that gives the same, -EIO otherwise. */
static int verify(const struct secret *password, const char *hash, struct crypt_data *work)
{
	explicit_bzero(work, sizeof(*work));
	const char *again = crypt_r((const char *)password->bytes, hash, work);
	return again && strcmp(again, hash) == 0 ? 0 : -EIO;
}

int hash_make(const struct secret *password, char ret_hash[HASH_SIZE_MAX + 1])
{
	static const struct {
		const char *prefix;
		unsigned long count;
	} methods[] = {{"$y$", 0}, {"$6$", HASH_SHA_ROUNDS}};
	CLEANUP(wipe_crypt) struct crypt_data *work = NULL;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (password->size > HASH_PASSWORD_MAX || strlen((const char *)password->bytes) != password->size)
		return -E2BIG;
	work = calloc(1, sizeof(*work));
	if (!work)
		return -ENOMEM;
	for (unsigned i = 0; i < ELEMENTS(methods); i++) {
		/* NULL: libcrypt takes its random bytes from getrandom itself. */
		if (!crypt_gensalt_rn(methods[i].prefix, methods[i].count, NULL, 0, setting, sizeof(setting)))
			continue;
		explicit_bzero(work, sizeof(*work));
		const char *hash = crypt_r((const char *)password->bytes, setting, work);
		if (!hash || *hash == '*' || hash_check(hash) != CODE_OK)
			continue;
		memcpy(ret_hash, hash, strlen(hash) + 1);
		return verify(password, ret_hash, work);
	}
	return -EOPNOTSUPP;
}
