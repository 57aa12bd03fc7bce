/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance posts: texts that its latched key has signed. */
#pragma once

#include "console/endpoint/request.h"

/*
 * 0 when the latched key signed the body in that namespace and the payload names the instance; otherwise negative errno
 * and an answer: 401, 422, or a failure of the store.
 */
int latched_check(struct request *request, const char *name_space, struct answer *answer) MUST_CHECK;
