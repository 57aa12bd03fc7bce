/* SPDX-License-Identifier: Apache-2.0 */
/* lib/krl against ssh-keygen: what we write it reads as we mean it, what it writes we read. */
#include "tests/unit/ssh_keygen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/krl.h"
#include "lib/sshkey.h"

#define RUN(...) workshop_run(workshop, (const char *const[]){__VA_ARGS__, NULL}, NULL, 0, NULL)

static void make_key(const struct workshop *workshop, const char *name, const char *type)
{
	assert_true(RUN("-q", "-t", type, "-N", "", "-C", name, "-f", name));
}

static void read_key(const struct workshop *workshop, const char *name, struct sshkey *ret_key)
{
	char public_name[32], detail[DETAIL_MAX + 1];
	size_t size;

	(void)snprintf(public_name, sizeof(public_name), "%s.pub", name);
	cleanup_free char *text = workshop_read(workshop, public_name, &size);
	assert_int_equal(sshkey_parse(text, size, ret_key, detail), CODE_OK);
}

/* ssh-keygen -Q exits 1 for a revoked key. */
static bool is_revoked(const struct workshop *workshop, const char *list, const char *name)
{
	char public_name[32];

	(void)snprintf(public_name, sizeof(public_name), "%s.pub", name);
	assert_true(RUN("-Q", "-l", "-f", list));
	return !RUN("-Q", "-f", list, public_name);
}

static void P114_what_we_write_sshd_reads(void **state)
{
	const struct workshop *workshop = *state;
	cleanup_buffer struct buffer list = {0};
	unsigned char digests[2][KRL_DIGEST_SIZE];
	static const char *const names[] = {"ed", "ec"};

	make_key(workshop, "ed", "ed25519");
	make_key(workshop, "ec", "ecdsa");
	make_key(workshop, "other", "ed25519");
	krl_put_header(&list, 1, 1763625616);
	krl_put_fingerprints(&list, digests, 0);
	assert_int_equal(buffer_status(&list), 0);
	workshop_write(workshop, "empty", list.bytes, list.size);
	assert_false(is_revoked(workshop, "empty", "ed"));
	buffer_free(&list);
	for (size_t i = 0; i < ELEMENTS(names); i++) {
		cleanup_sshkey struct sshkey key = {0};
		char fingerprint[SSHKEY_FINGERPRINT_SIZE];

		read_key(workshop, names[i], &key);
		sshkey_fingerprint(key.blob, key.blob_size, fingerprint);
		assert_int_equal(sshkey_read_fingerprint(fingerprint, digests[i]), 0);
	}
	krl_put_header(&list, 2, 1763625616);
	krl_put_fingerprints(&list, digests, ELEMENTS(digests));
	assert_int_equal(buffer_status(&list), 0);
	workshop_write(workshop, "list", list.bytes, list.size);
	assert_true(is_revoked(workshop, "list", "ed"));
	assert_true(is_revoked(workshop, "list", "ec"));
	assert_false(is_revoked(workshop, "list", "other"));
}

struct seen {
	unsigned kinds[8];
};

static int count_kind(enum krl_kind kind, unsigned section, const struct ssh_slice *value, void *context)
{
	struct seen *seen = context;
	(void)section;
	assert_true(value->size > 0);
	seen->kinds[kind]++;
	return 0;
}

static void P114_what_ssh_keygen_writes_we_read_and_carry(void **state)
{
	const struct workshop *workshop = *state;
	cleanup_buffer struct buffer carried = {0};
	struct seen seen = {{0}};
	size_t size;

	cleanup_buffer struct buffer specification = {0};
	static const char *const names[] = {"ed.pub", "ec.pub", "other.pub"}, *const keywords[] = {
										      "sha1", "sha256", "key"};
	buffer_append_text(&specification, "serial: 7\nserial: 9-12\nid: someone\n");
	for (size_t i = 0; i < ELEMENTS(names); i++) {
		cleanup_free char *text = workshop_read(workshop, names[i], &size);
		buffer_append_format(&specification, "%s: %s", keywords[i], text);
	}
	workshop_write(workshop, "specification", specification.bytes, specification.size);
	make_key(workshop, "ca", "ed25519");
	make_key(workshop, "free", "ed25519");
	assert_true(RUN("-q", "-k", "-f", "theirs", "-s", "ca.pub", "specification"));
	cleanup_free char *theirs = workshop_read(workshop, "theirs", &size);
	assert_int_equal(krl_walk(theirs, size, count_kind, &seen), 0);
	assert_true(seen.kinds[KRL_CERTIFICATES] == 1 && seen.kinds[KRL_SHA1] == 1 && seen.kinds[KRL_SHA256] == 1);
	assert_int_equal(seen.kinds[KRL_KEY], 1);
	unsigned char digest[1][KRL_DIGEST_SIZE] = {{1}};
	krl_put_header(&carried, 3, 0);
	krl_put_fingerprints(&carried, digest, 1);
	assert_int_equal(krl_put_sections(&carried, theirs, size, 0), 0);
	workshop_write(workshop, "carried", carried.bytes, carried.size);
	assert_true(is_revoked(workshop, "carried", "ed") && is_revoked(workshop, "carried", "ec"));
	assert_true(is_revoked(workshop, "carried", "other") && !is_revoked(workshop, "carried", "free"));
	cleanup_buffer struct buffer again = {0};
	krl_put_header(&again, 4, 0);
	krl_put_fingerprints(&again, digest, 1);
	assert_int_equal(krl_put_sections(&again, carried.bytes, carried.size, 1), 0);
	workshop_write(workshop, "again", again.bytes, again.size);
	assert_int_equal(again.size, carried.size);
	assert_true(is_revoked(workshop, "again", "ed") && !is_revoked(workshop, "again", "free"));
	for (size_t cut = 0; cut < size; cut++) { /* a list cut anywhere but between sections is none */
		cleanup_free char *part = malloc(cut + 1);
		cleanup_buffer struct buffer out = {0};
		assert_non_null(part);
		memcpy(part, theirs, cut);
		if (krl_walk(part, cut, NULL, NULL) == 0)
			assert_int_equal(krl_put_sections(&out, part, cut, 0), 0);
	}
	assert_int_equal(krl_walk(theirs, 20, NULL, NULL), -EBADMSG);
	assert_int_equal(krl_walk("ssh-ed25519 AAAA", 16, NULL, NULL), -EBADMSG);
}

static void fingerprints_have_one_spelling(void **state)
{
	static const char *const bad[] = {"", "SHA256:", "SHA256:x", "MD5:00",
		"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
		"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	char text[SSHKEY_FINGERPRINT_SIZE];
	(void)state;

	for (size_t i = 0; i < ELEMENTS(bad); i++)
		assert_int_equal(sshkey_read_fingerprint(bad[i], digest), -EINVAL);
	assert_int_equal(sshkey_read_fingerprint("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", digest), 0);
	sshkey_fingerprint_of_digest(digest, text);
	assert_string_equal(text, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P114_what_we_write_sshd_reads),
		cmocka_unit_test(P114_what_ssh_keygen_writes_we_read_and_carry),
		cmocka_unit_test(fingerprints_have_one_spelling),
	};
	return cmocka_run_group_tests(tests, workshop_open, workshop_close);
}
