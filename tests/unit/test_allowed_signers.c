/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/allowed_signers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/sshsig.h"
#include "tests/unit/ssh_keygen.h"

#define KEY1 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
#define KEY2 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID1AF8PoQ4lakrcKp00bfrycmCzPLsSWjM0TVfEq9GYM"
#define OPTION "namespaces=\"latchkey-document@1\""

static int parse(const char *text, unsigned *ret_line)
{
	cleanup_allowed_signers struct allowed_signers signers = {0};
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	int r = allowed_signers_parse(text, strlen(text), &signers, ret_line, reason);
	assert_int_equal(r == -EBADMSG, reason[0] != '\0');
	return r;
}

static void P15_only_the_strict_subset(void **state)
{
	static const char *const bad[] = {
		"i-1 " KEY1 " alice\n",      /* no namespaces: good for everything */
		"i-1 " OPTION " " KEY1 "\n", /* no name */
		"i-1 " OPTION " " KEY1 " two words\n",
		"i-1 cert-authority," OPTION " " KEY1 " alice\n",
		"i-1 " OPTION ",cert-authority " KEY1 " alice\n",
		"i-1 " OPTION "," OPTION " " KEY1 " alice\n",
		"i-1 " OPTION ", " KEY1 " alice\n",
		"i-1 namespaces=latchkey-document@1 " KEY1 " alice\n",
		"i-1 namespaces=\"\" " KEY1 " alice\n",
		"i-1 Namespaces=\"a\" " KEY1 " alice\n",
		"i-1 " OPTION ",valid-before=\"20300101\" " KEY1 " alice\n", /* local time */
		"i-1 " OPTION ",valid-before=\"20300231Z\" " KEY1 " alice\n",
		"i-1 " OPTION ",valid-before=\"203001011Z\" " KEY1 " alice\n",
		"i-1 " OPTION ",valid-after=\"20300101Z\",valid-before=\"20290101Z\" " KEY1 " alice\n",
		"i-1 " OPTION " ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea alice\n",
		"i-1 " OPTION
		" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1E alice\n",
		"i-1 " OPTION " ssh-ed25519 AAAA alice\n",
		"\"i-1\" " OPTION " " KEY1 " alice\n",
		"i-1,, " OPTION " " KEY1 " alice\n",
		"! " OPTION " " KEY1 " alice\n",
		"i-1 " OPTION " " KEY1 " alice\r\n",
		"i-1 " OPTION " " KEY1 " \xc3\xa4lice\n",
		"i-1 " OPTION " " KEY1 " alice\ni-2 " OPTION " " KEY1 " bob\n",   /* key twice */
		"i-1 " OPTION " " KEY1 " alice\ni-2 " OPTION " " KEY2 " alice\n", /* name twice */
		"garbage\n",
	};
	unsigned line;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(bad); i++)
		assert_int_equal(parse(bad[i], &line), -EBADMSG);
	assert_int_equal(parse("", &line), 0);
	assert_int_equal(parse("# a comment\n\n \t\n  # another\ni-* " OPTION " " KEY1 " alice\ni-1,!i-2 " OPTION
			       "\t" KEY2 "  bob",
				 &line),
		0);
	assert_int_equal(parse("# fine\ni-* " OPTION " " KEY1 " alice\nbad\n", &line), -EBADMSG);
	assert_int_equal(line, 3);
}

static void P15_size_limits(void **state)
{
	cleanup_buffer struct buffer text = {0};
	unsigned line;

	(void)state;
	for (int i = 0; i < 256; i++)
		buffer_append_text(&text, "#\n");
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(parse(text.bytes, &line), 0);
	buffer_append_text(&text, "#\n");
	assert_int_equal(parse(text.bytes, &line), -EBADMSG);
	buffer_free(&text);
	for (int i = 0; i <= 65536; i++)
		buffer_append_text(&text, "#");
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(parse(text.bytes, &line), -EBADMSG);
	assert_int_equal(line, 0);
}

static void P15_P12_who_may_sign_for_what_and_when(void **state)
{
	cleanup_allowed_signers struct allowed_signers signers = {0}, none = {0};
	static const char text[] =
		"web-*,!web-9 " OPTION ",valid-after=\"20250101Z\",valid-before=\"202601010000Z\" " KEY1 " alice\n"
		"db-? namespaces=\"latchkey-*\" " KEY2 " bob\n";
	const struct allowed_signer *signer;
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	unsigned line;

	(void)state;
	assert_int_equal(allowed_signers_parse(text, strlen(text), &signers, &line, reason), 0);
	assert_int_equal(signers.count, 2);
	const struct allowed_signer *alice = &signers.entries[0], *bob = &signers.entries[1];
	assert_int_equal(alice->valid_after, 1735689600);
	assert_int_equal(alice->valid_before, 1767225600);
	static const struct {
		unsigned who;
		const char *instance, *name_space;
		int64_t now;
		enum code code;
	} rows[] = {
		{0, "web-1", SSHSIG_DOCUMENT, 1750000000, CODE_OK},
		{0, "web-1", SSHSIG_DOCUMENT, 1735689600, CODE_OK},
		{0, "web-1", SSHSIG_DOCUMENT, 1735689599, CODE_SIGNER_EXPIRED},
		{0, "web-1", SSHSIG_DOCUMENT, 1767225600, CODE_OK},
		{0, "web-1", SSHSIG_DOCUMENT, 1767225601, CODE_SIGNER_EXPIRED},
		{0, "web-1", SSHSIG_TRUST, 1750000000, CODE_SIGNER_UNKNOWN},
		{0, "web-9", SSHSIG_DOCUMENT, 1750000000, CODE_SIGNER_UNKNOWN},
		{0, "db-1", SSHSIG_DOCUMENT, 1750000000, CODE_SIGNER_UNKNOWN},
		{0, "WEB-1", SSHSIG_DOCUMENT, 1750000000, CODE_SIGNER_UNKNOWN},
		{1, "db-1", SSHSIG_TRUST, 1, CODE_OK},
		{1, "db-12", SSHSIG_TRUST, 1, CODE_SIGNER_UNKNOWN},
	};
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		const struct allowed_signer *by = &signers.entries[rows[i].who];
		assert_int_equal(allowed_signers_check(&signers, rows[i].instance, rows[i].name_space, by->blob,
					 by->blob_size, rows[i].now, &signer),
			rows[i].code);
	}
	assert_int_equal(
		allowed_signers_check(&signers, "db-1", SSHSIG_TRUST, bob->blob, bob->blob_size - 1, 1, &signer),
		CODE_SIGNER_UNKNOWN);
	assert_int_equal(allowed_signers_check(&none, "db-1", SSHSIG_TRUST, bob->blob, bob->blob_size, 1, &signer),
		CODE_NO_SIGNERS);
	/* the union with a trust document */
	assert_int_equal(allowed_signers_append(&signers, "i " OPTION " " KEY1 " carol",
				 strlen("i " OPTION " " KEY1 " carol"), reason),
		-EEXIST);
	assert_int_equal(signers.count, 2);
	allowed_signers_remove(&signers, 0);
	assert_int_equal(signers.count, 1);
	assert_string_equal(signers.entries[0].name, "bob");
}

/* Our patterns and times mean what ssh-keygen's mean: every pair is asked of both. */
static void P12_P15_agrees_with_ssh_keygen(void **state)
{
	static const char *const principals[] = {"*", "i-1", "i-?", "i-*", "*-1", "!i-1,*", "*,!i-2", "i-2", "I-1", "?",
		"i-*-*", "i-1,i-1", "!i-2", "a,b,i-1"};
	static const char *const instances[] = {"i-1", "i-2", "i-10", "i-1-2", "x"};
	const struct workshop *workshop = *state;
	cleanup_secret struct secret key = {0};
	cleanup_buffer struct buffer armour = {0}, line = {0};

	assert_int_equal(sshsig_generate_key(&key), 0);
	assert_int_equal(sshsig_public_line(&key, &line), 0);
	assert_int_equal(sshsig_sign(&key, SSHSIG_DOCUMENT, "x\n", 2, &armour), 0);
	workshop_write(workshop, "armour", armour.bytes, armour.size);
	unsigned accepted = 0;
	for (size_t i = 0; i < ELEMENTS(principals); i++) {
		cleanup_buffer struct buffer file = {0};
		cleanup_allowed_signers struct allowed_signers signers = {0};
		char reason[ALLOWED_SIGNERS_REASON_MAX];
		const struct allowed_signer *signer;
		unsigned number;
		buffer_append_format(
			&file, "%s " OPTION ",valid-after=\"20200101Z\" %s tester\n", principals[i], line.bytes);
		assert_int_equal(buffer_status(&file), 0);
		workshop_write(workshop, "allowed", file.bytes, file.size);
		assert_int_equal(allowed_signers_parse(file.bytes, file.size, &signers, &number, reason), 0);
		for (size_t j = 0; j < ELEMENTS(instances); j++) {
			bool theirs = workshop_run(workshop,
				(const char *const[]){"-Y", "verify", "-f", "allowed", "-I", instances[j], "-n",
					SSHSIG_DOCUMENT, "-s", "armour", NULL},
				"x\n", 2, NULL);
			enum code ours = allowed_signers_check(&signers, instances[j], SSHSIG_DOCUMENT,
				signers.entries[0].blob, signers.entries[0].blob_size, 1750000000, &signer);
			assert_int_equal(ours == CODE_OK, theirs);
			accepted += theirs;
		}
	}
	assert_true(accepted > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P15_only_the_strict_subset),
		cmocka_unit_test(P15_size_limits),
		cmocka_unit_test(P15_P12_who_may_sign_for_what_and_when),
		cmocka_unit_test(P12_P15_agrees_with_ssh_keygen),
	};
	return cmocka_run_group_tests(tests, workshop_open, workshop_close);
}
