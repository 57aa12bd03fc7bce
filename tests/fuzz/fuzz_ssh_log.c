/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a client's log is terminated, counted within bounds, and a fingerprint is one. */
#include <assert.h>
#include <string.h>

#include "agent/ctl/ssh_log.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	struct ssh_log log;

	ssh_log_read((const char *)bytes, size, &log);
	assert(log.key_count <= SSH_LOG_KEYS_MAX && log.end <= SSH_LOG_FINDINGS);
	assert(log.end == SSH_LOG_FINDINGS || log.found & (UINT32_C(1) << log.end));
	assert(memchr(log.user, '\0', sizeof(log.user)) && memchr(log.host, '\0', sizeof(log.host)) &&
		memchr(log.server, '\0', sizeof(log.server)) && memchr(log.methods, '\0', sizeof(log.methods)));
	for (unsigned i = 0; i < log.key_count; i++)
		assert(sshkey_read_fingerprint(log.keys[i].fingerprint, digest) == 0);
	return 0;
}
