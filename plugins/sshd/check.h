/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing what is in force with what we set, and naming the operator's line where they differ. */
#pragma once

#include "lib/code.h"
#include "lib/sshd_config.h"
#include "plugins/sshd/settings.h"

/*
 * CODE_OK when sshd's values for a person in general (and for root where root's own setting is meant) are the wanted
 * ones by meaning; ret_detail may then still name a Match that says otherwise for some. CODE_OVERRIDDEN with file:line;
 * CODE_SSHD_INVALID or CODE_CANNOT_VALIDATE when sshd does not answer.
 */
enum code check_effective(struct sshd *sshd, const struct settings *wanted, char ret_detail[SSHD_DETAIL_MAX + 1]);
