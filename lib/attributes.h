/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of files that replace others, or are copied from a skeleton: see xattr(7), acl(5). What grants or
 * refuses access must be kept, or the new file is not used: the access ACL, the user's own attributes, and the SELinux
 * label where SELinux is on. What belongs to the old bytes or the old inode is never copied (security.ima, .evm,
 * .capability); anything else is tried.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

#define LABEL_MAX 4096u /* an SELinux context with many categories; the kernel takes a page */

struct label {
	char bytes[LABEL_MAX];
	size_t size; /* 0: none */
};

/* True where the kernel decides by SELinux labels. */
bool label_is_in_force(void);
/* The file's label, or none. */
void label_read(int descriptor, struct label *ret_label);
/* The same label with another type (USER:ROLE:TYPE:LEVEL); none when `from` has no such shape. */
void label_with_type(const struct label *from, const char *type, struct label *ret_label);
/* What this thread creates from now on has that label from its first instant; NULL: as the policy has it. */
void label_new_files(const struct label *label);
/* Gives it the label if it has not got it. A failure counts only where labels are in force. */
int label_put(int descriptor, const struct label *label) MUST_CHECK;

/* From the file that is replaced; what a default ACL gave the new one on top is taken away. Not the label. */
int attributes_keep(int from, int to) MUST_CHECK;
/* From a file or directory of a skeleton: ACLs and the user's own attributes, where the file system has them. */
int attributes_copy(int from, int to) MUST_CHECK;
