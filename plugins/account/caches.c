/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/caches.h"

#include <linux/audit.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/process.h"

#define CACHE_TIMEOUT_MS 3000u
/* libaudit's numbers for what user space reports; linux/audit.h has only the range's ends. */
#define AUDIT_TYPE_USER_CHAUTHTOK 1108u
#define AUDIT_TYPE_ADD_USER 1114u
#define AUDIT_TYPE_DEL_USER 1115u
#define AUDIT_TYPE_USER_MGMT 1102u

static void run(const char *path, const char *const *argv)
{
	const struct process process = {.path = path,
		.argv = argv,
		.working_directory = -1,
		.input = "",
		.output_limit = 65536,
		.timeout_ms = CACHE_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	cleanup_process_result struct process_result result = {0};

	(void)!process_run(&process, &result);
}

static bool exists(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0;
}

void caches_forget(void)
{
	static const char *const passwd[] = {"nscd", "-i", "passwd", NULL};
	static const char *const group[] = {"nscd", "-i", "group", NULL};
	static const char *const sss[] = {"sss_cache", "-U", "-G", NULL};

	if (exists("/run/nscd/socket")) {
		run("/usr/sbin/nscd", passwd);
		run("/usr/sbin/nscd", group);
	}
	if (exists("/usr/sbin/sss_cache"))
		run("/usr/sbin/sss_cache", sss);
}

void caches_audit(const char *do_name, const char *user)
{
	struct {
		struct nlmsghdr header;
		char text[256];
	} message = {0};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	cleanup_close int audit = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_AUDIT);
	if (audit < 0)
		return; /* no audit in this kernel, or none for a container */
	/* The name was checked: no byte in it ends the quotes. */
	int size = snprintf(message.text, sizeof(message.text),
		"op=%s acct=\"%s\" exe=\"/usr/libexec/latchkey/plugins/account\" hostname=? addr=? terminal=? "
		"res=success",
		do_name, user);
	if (size < 0 || (size_t)size >= sizeof(message.text))
		return;
	message.header.nlmsg_len = (uint32_t)NLMSG_LENGTH((size_t)size + 1);
	message.header.nlmsg_flags = NLM_F_REQUEST;
	message.header.nlmsg_type = strncmp(do_name, "password.", 9) == 0 ? AUDIT_TYPE_USER_CHAUTHTOK
				    : strcmp(do_name, "user.ensure") == 0 ? AUDIT_TYPE_ADD_USER
				    : strcmp(do_name, "user.remove") == 0 ? AUDIT_TYPE_DEL_USER
									  : AUDIT_TYPE_USER_MGMT;
	(void)sendto(audit, &message, message.header.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
}
