/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lib/cleanup.h"
#include "lib/file.h"

int link_send(int link, const struct link_message *message, int descriptor)
{
	/* The kernel does not write to what it sends; iovec has no const. */
	struct iovec part = {(void *)(uintptr_t)message, sizeof(*message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (descriptor >= 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *item = CMSG_FIRSTHDR(&header);
		item->cmsg_level = SOL_SOCKET;
		item->cmsg_type = SCM_RIGHTS;
		item->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(item), &descriptor, sizeof(int));
	}
	ssize_t n = sendmsg(link, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*message) ? 0 : -EIO;
}

int link_send_body(int link, struct link_message *message, const void *bytes, size_t size)
{
	cleanup_close int descriptor = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (size > LINK_BODY_MAX)
		return -EFBIG;
	if (descriptor < 0)
		return -errno;
	int r = file_write_all(descriptor, bytes, size);
	if (r < 0)
		return r;
	if (fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	message->size = size;
	return link_send(link, message, descriptor);
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

int link_receive(int link, struct link_message *ret_message, int *ret_descriptor)
{
	struct link_message message;
	struct iovec part = {&message, sizeof(message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	int descriptors[4];
	size_t count = 0;

	ssize_t n = recvmsg(link, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
		if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
			continue;
		size_t of_item = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < of_item && count < ELEMENTS(descriptors); i++)
			memcpy(&descriptors[count++], CMSG_DATA(item) + i * sizeof(int), sizeof(int));
	}
	/* Zero bytes are an empty message or the end: both close. */
	bool good = n == (ssize_t)sizeof(message) && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && count <= 1 &&
		    is_terminated(message.etag, sizeof(message.etag)) &&
		    is_terminated(message.text, sizeof(message.text));
	if (!good) {
		for (size_t i = 0; i < count; i++)
			(void)close(descriptors[i]);
		return n == 0 ? -ECONNRESET : -EBADMSG;
	}
	*ret_message = message;
	*ret_descriptor = count == 1 ? descriptors[0] : -1;
	return 0;
}

int link_read_body(const struct link_message *message, int descriptor, char **ret_bytes)
{
	const int sealed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	struct stat status;

	/* Before anything is asked of its file system: only a memfd has seals, and none that another process serves. */
	if (descriptor < 0)
		return -EBADMSG;
	int seals = fcntl(descriptor, F_GET_SEALS);
	if (seals < 0 || (seals & sealed) != sealed || fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode) ||
		message->size > LINK_BODY_MAX || status.st_size != (off_t)message->size)
		return -EBADMSG;
	size_t size = (size_t)message->size;
	cleanup_free char *bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	if (pread(descriptor, bytes, size, 0) != (ssize_t)size)
		return -EBADMSG;
	bytes[size] = '\0';
	*ret_bytes = steal_pointer(&bytes);
	return 0;
}
