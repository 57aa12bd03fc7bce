/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/code.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	enum code_status status;
} codes[CODE_COUNT] = {
#define X(name, text, status) [CODE_##name] = {text, STATUS_##status},
	CODE_TABLE(X)
#undef X
};

static const char *const status_names[] = {
	[STATUS_OK] = "ok",
	[STATUS_PENDING] = "pending",
	[STATUS_REJECTED] = "rejected",
	[STATUS_DENIED] = "denied",
	[STATUS_REFUSED] = "refused",
	[STATUS_EXPIRED] = "expired",
	[STATUS_FAILED] = "failed",
	[STATUS_SUPERSEDED] = "superseded",
	[STATUS_OVERRIDDEN] = "overridden",
	[STATUS_ROLLED_BACK] = "rolled_back",
	[STATUS_OBSERVED] = "observed",
	[STATUS_DOCUMENT] = "refused",
};

const char *code_name(enum code code)
{
	return code < CODE_COUNT ? codes[code].name : "internal";
}

int code_from_name(const char *name, enum code *ret_code)
{
	for (unsigned i = 0; i < CODE_COUNT; i++) {
		if (strcmp(codes[i].name, name) == 0) {
			*ret_code = (enum code)i;
			return 0;
		}
	}
	return -ENOENT;
}

enum code_status code_status(enum code code)
{
	return code < CODE_COUNT ? codes[code].status : STATUS_FAILED;
}

const char *code_status_name(enum code_status status)
{
	return status_names[status];
}

bool code_is_retried(enum code code)
{
	return code_status(code) == STATUS_PENDING && code != CODE_AWAITING_CONFIRM;
}

enum code code_from_errno(int error)
{
	switch (error) {
	case ENOSPC:
		return CODE_NO_SPACE;
	case EDQUOT:
		return CODE_QUOTA;
	case EROFS:
		return CODE_READ_ONLY;
	case ETIMEDOUT:
	case ETIME:
		return CODE_TIMEOUT;
	case EBUSY:
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return CODE_BUSY;
	case ELOOP:
		return CODE_SYMLINK;
	case EFBIG:
		return CODE_TOO_LARGE;
	case EPERM:
		return CODE_IMMUTABLE;
	case EACCES:
		return CODE_LSM_DENIED;
	default:
		return CODE_IO_ERROR;
	}
}
