/* SPDX-License-Identifier: Apache-2.0 */
/* Names and addresses against sshd's patterns (ssh_config(5), PATTERNS; sshd_config(5), AllowUsers, DenyUsers). */
#pragma once

#include <stdbool.h>

/* `*` and `?`, no other character is special. */
bool pattern_matches(const char *text, const char *pattern);
/* A pattern list as in from="…": commas, `!` in front negates, networks as ADDRESS/BITS. False on a negated match. */
/*
 * Whether a list of patterns leaves an address at all: some part names one, and none denies them all. A host name
 * counts where sshd looks names up (UseDNS yes).
 */
bool pattern_list_leaves_some_address(const char *list, bool names);
bool pattern_list_matches_address(const char *list, const char *address);
/*
 * False for a list that sshd takes no line of a key with: an empty part, or ADDRESS/BITS where the address has more
 * bits than that.
 */
bool pattern_list_is_good(const char *list);
/*
 * USER, USER@HOST. An address of NULL stands for somebody somewhere: then the part behind the @ is taken as fulfilled
 * where it allows (`denies` false) and as not fulfilled where it denies.
 */
bool pattern_matches_user(const char *user, const char *address, const char *pattern, bool denies);
