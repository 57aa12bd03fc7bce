/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the journal of any bytes: evidence is whole, or there is none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/authorized-keys/session_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct session sessions[] = {{.pid = 41, .started_us = 1}, {.pid = 42, .started_us = 5000000}};
	unsigned char digest[SSHKEY_DIGEST_SIZE];

	bool said = session_keys_read_line((const char *)bytes, size, "alice", sessions, ELEMENTS(sessions));
	for (unsigned i = 0; i < ELEMENTS(sessions); i++) {
		if (!said && sessions[i].evidence != SESSION_UNKNOWN)
			abort();
		if (sessions[i].evidence == SESSION_KEY && sshkey_read_fingerprint(sessions[i].fingerprint, digest) < 0)
			abort();
	}
	return 0;
}
