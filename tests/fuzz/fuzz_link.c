/* SPDX-License-Identifier: Apache-2.0 */
/* P112: frames of every size and content are taken whole or refused. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	int ends[2], descriptor = -1;
	struct link_message message;
	char *body = NULL;

	if (size > 100000 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return 0;
	if (send(ends[0], bytes, size, MSG_DONTWAIT) >= 0 && link_receive(ends[1], &message, &descriptor) == 0) {
		if (size != sizeof(message) || strlen(message.etag) >= sizeof(message.etag) ||
			strlen(message.text) >= sizeof(message.text))
			__builtin_trap();
		if (link_read_body(&message, descriptor, &body) == 0)
			__builtin_trap(); /* there was no descriptor */
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
	return 0;
}
