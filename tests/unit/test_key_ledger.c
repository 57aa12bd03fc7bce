/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/authorized-keys/ledger.h"

#define USERS 5u
#define PAIRS 7u
#define ROUNDS 20000u

static char path[] = "/home/x/.ssh/authorized_keys", print[] = "SHA256:x", text[] = "x";

static struct key_entry make(char *user, char *keypair, char *signer)
{
	return (struct key_entry){.user = user,
		.keypair = keypair,
		.fingerprint = print,
		.signer = signer,
		.command = text,
		.location = text,
		.path = path,
		.state = text,
		.line = text,
		.expires = -1};
}

/* Entries come, change and go in any order; each user's chain holds exactly his. */
static void the_chains_hold_what_a_plain_list_would(void **state)
{
	CLEANUP(key_ledger_free) struct key_ledger ledger = {0};
	int model[USERS][PAIRS] = {{0}}; /* 0: not there; else what the signer says */
	char user[16], keypair[16], signer[16];

	(void)state;
	srand(1);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		unsigned u = (unsigned)rand() % USERS, p = (unsigned)rand() % PAIRS, total = 0;
		(void)snprintf(user, sizeof(user), "user%u", u);
		(void)snprintf(keypair, sizeof(keypair), "pair%u", p);
		(void)snprintf(signer, sizeof(signer), "%u", round);
		if (rand() % 2) {
			struct key_entry entry = make(user, keypair, signer);
			assert_int_equal(key_ledger_put(&ledger, &entry), 0);
			model[u][p] = (int)round;
		} else {
			key_ledger_remove(&ledger, user, keypair, path);
			model[u][p] = 0;
		}
		for (u = 0; u < USERS; u++) {
			unsigned chained = 0, wanted = 0;
			(void)snprintf(user, sizeof(user), "user%u", u);
			for (unsigned i = key_ledger_first(&ledger, user); i != KEY_LEDGER_END;
				i = ledger.entries[i].next) {
				assert_true(i < ledger.count && chained++ < PAIRS);
				assert_string_equal(ledger.entries[i].user, user);
			}
			for (p = 0; p < PAIRS; p++) {
				(void)snprintf(keypair, sizeof(keypair), "pair%u", p);
				const struct key_entry *found = key_ledger_find(&ledger, user, keypair, path);
				(void)snprintf(signer, sizeof(signer), "%d", model[u][p]);
				assert_string_equal(found ? found->signer : "0", signer);
				wanted += model[u][p] != 0;
			}
			assert_int_equal(chained, wanted);
			total += wanted;
		}
		assert_int_equal(ledger.count, total);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_chains_hold_what_a_plain_list_would),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
