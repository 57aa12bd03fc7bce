/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int secret_allocate(size_t size, struct secret *ret_secret)
{
	if (size > SECRET_SIZE_MAX)
		return -EFBIG;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t capacity = (size / page + 1) * page;
	void *bytes = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return -ENOMEM;
	(void)mlock(bytes, capacity);
	if (madvise(bytes, capacity, MADV_DONTDUMP) < 0 || madvise(bytes, capacity, MADV_WIPEONFORK) < 0) {
		int error = errno;
		(void)munmap(bytes, capacity);
		return -error;
	}
	*ret_secret = (struct secret){.bytes = bytes, .size = size, .capacity = capacity};
	return 0;
}

void secret_free(struct secret *secret)
{
	if (!secret->bytes)
		return;
	explicit_bzero(secret->bytes, secret->capacity);
	(void)munmap(secret->bytes, secret->capacity);
	*secret = (struct secret){0};
}
