/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/sys.h"

#define NAMES_MAX 65536           /* the kernel's limit on the list of names and on one value */
#define SELINUX_MAGIC 0xf97cff8cu /* of selinuxfs, linux/magic.h */
#define LABEL "security.selinux"
#define ACL "system.posix_acl_access"

enum keep {
	KEEP_NEVER,
	KEEP_TRY,
	KEEP_MUST,
};

static const struct {
	const char *prefix;
	enum keep replaced, skeleton;
} rules[] = {
	{ACL, KEEP_MUST, KEEP_MUST},
	{"system.posix_acl_default", KEEP_NEVER, KEEP_MUST}, /* of directories only */
	{"user.", KEEP_MUST, KEEP_MUST},
	{LABEL, KEEP_NEVER, KEEP_NEVER},                 /* label_put; a home's own label is the policy's to say */
	{"security.ima", KEEP_NEVER, KEEP_NEVER},        /* a hash of the old bytes, */
	{"security.evm", KEEP_NEVER, KEEP_NEVER},        /* one over the old inode: the kernel makes new ones */
	{"security.capability", KEEP_NEVER, KEEP_NEVER}, /* what writing a file takes away must not come back */
	{"", KEEP_TRY, KEEP_NEVER},
};

bool label_is_in_force(void)
{
	struct statfs status;

	/* Root who may not look is held by a policy: a file without its label would then keep sshd out of it. */
	if (statfs("/sys/fs/selinux", &status) < 0)
		return errno == EACCES;
	return (unsigned long)status.f_type == SELINUX_MAGIC;
}

void label_read(int descriptor, struct label *ret_label)
{
	ssize_t size = fgetxattr(descriptor, LABEL, ret_label->bytes, sizeof(ret_label->bytes));
	ret_label->size = size > 0 ? (size_t)size : 0;
}

void label_with_type(const struct label *from, const char *type, struct label *ret_label)
{
	const char *at = from->bytes, *end = from->bytes + from->size, *start = NULL, *rest;
	int size = 0;

	ret_label->size = 0;
	for (unsigned field = 0; field < 2; field++) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at)
			return;
		start = ++at;
	}
	rest = memchr(start, ':', (size_t)(end - start));
	rest = rest ? rest : start + strnlen(start, (size_t)(end - start)); /* a policy without levels */
	size = snprintf(ret_label->bytes, sizeof(ret_label->bytes), "%.*s%s%.*s", (int)(start - from->bytes),
		from->bytes, type, (int)(end - rest), rest);
	if (size > 0 && (size_t)size < sizeof(ret_label->bytes))
		ret_label->size = (size_t)size + 1; /* with its NUL, as the kernel gives it */
}

void label_new_files(const struct label *label)
{
	/* Without it the label comes a moment later, by label_put. */
	cleanup_close int descriptor = open("/proc/thread-self/attr/fscreate", O_WRONLY | O_CLOEXEC);
	if (descriptor >= 0)
		(void)!write(descriptor, label ? label->bytes : "", label ? label->size : 0);
}

int label_put(int descriptor, const struct label *label)
{
	struct label now;

	if (label->size == 0)
		return 0;
	label_read(descriptor, &now);
	if (now.size == label->size && memcmp(now.bytes, label->bytes, label->size) == 0)
		return 0;
	if (sys.fsetxattr(descriptor, LABEL, label->bytes, label->size, 0) < 0 && label_is_in_force())
		return -errno;
	return 0;
}

static enum keep keep_of(const char *name, bool skeleton)
{
	for (unsigned i = 0; i < ELEMENTS(rules); i++) {
		if (strncmp(name, rules[i].prefix, strlen(rules[i].prefix)) == 0)
			return skeleton ? rules[i].skeleton : rules[i].replaced;
	}
	return KEEP_NEVER;
}

static int copy_one(int from, int to, const char *name, char *value, bool skeleton)
{
	enum keep keep = keep_of(name, skeleton);

	if (keep == KEEP_NEVER)
		return 0;
	ssize_t size = fgetxattr(from, name, value, NAMES_MAX);
	int error = size < 0 ? errno : 0;
	if (size >= 0 && sys.fsetxattr(to, name, value, (size_t)size, 0) < 0)
		error = errno;
	/* The skeleton may lie on another kind of file system than the homes. */
	if (error == 0 || keep == KEEP_TRY || (skeleton && error == ENOTSUP))
		return 0;
	return -error;
}

/* A file system without attributes has none. */
static int copy(int from, int to, bool skeleton, bool *ret_acl)
{
	ssize_t size = flistxattr(from, NULL, 0);

	*ret_acl = false;
	if (size <= 0)
		return size == 0 || errno == ENOTSUP ? 0 : -errno;
	if (size > NAMES_MAX)
		return -E2BIG;
	cleanup_free char *names = malloc((size_t)size);
	cleanup_free char *value = malloc(NAMES_MAX);
	if (!names || !value)
		return -ENOMEM;
	size = flistxattr(from, names, (size_t)size);
	if (size < 0)
		return -errno;
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		*ret_acl = *ret_acl || strcmp(name, ACL) == 0;
		int r = copy_one(from, to, name, value, skeleton);
		if (r < 0)
			return r;
	}
	return 0;
}

int attributes_keep(int from, int to)
{
	bool acl;

	int r = copy(from, to, false, &acl);
	if (r < 0 || acl)
		return r;
	if (sys.fremovexattr(to, ACL) < 0 && errno != ENODATA && errno != ENOTSUP)
		return -errno;
	return 0;
}

int attributes_copy(int from, int to)
{
	bool acl;
	return copy(from, to, true, &acl);
}
