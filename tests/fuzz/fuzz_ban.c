/* SPDX-License-Identifier: Apache-2.0 */
/* What fail2ban's client says: the names that are taken are within bounds, and arguments that are no option. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/login/ban.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const struct ban_names *names)
{
	if (names->count > BAN_NAMES_MAX)
		abort();
	for (unsigned i = 0; i < names->count; i++) {
		const char *name = names->names[i];
		size_t length = strnlen(name, sizeof(names->names[i]));
		if (length == 0 || length > BAN_NAME_MAX || *name == '-' || strpbrk(name, " '\"\n;/$"))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint16_t ports[] = {22, 2222};
	cleanup_free char *text = strndup((const char *)bytes, size);
	struct ban_names names;

	if (!text)
		return 0;
	if (ban_read_jails(text, &names) == 0)
		check(&names);
	if (ban_read_actions(text, "sshd", &names) == 0)
		check(&names);
	(void)ban_reaches("nftables", text, ports, ELEMENTS(ports));
	return 0;
}
