/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/token.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "lib/field.h"

#define TOKEN_BYTES 32u

static const char *const roles[] = {"reader", "helpdesk", "operator"};

void token_hash(const char *text, unsigned char ret_hash[STORE_HASH_SIZE])
{
	(void)crypto_hash_sha256(ret_hash, (const unsigned char *)text, strlen(text));
}

void token_make(char ret_text[TOKEN_TEXT_SIZE], unsigned char ret_hash[STORE_HASH_SIZE])
{
	unsigned char bytes[TOKEN_BYTES];

	randombytes_buf(bytes, sizeof(bytes));
	(void)sodium_bin2base64(
		ret_text, TOKEN_TEXT_SIZE, bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	explicit_bzero(bytes, sizeof(bytes));
	token_hash(ret_text, ret_hash);
}

static int complain(const char *format, const char *name)
{
	(void)fprintf(stderr, "latchkey-endpoint: ");
	(void)fprintf(stderr, "token: %s: %s\n", name, format);
	return EX_USAGE;
}

static int add(struct store *store, const char *name, const char *role, int64_t now)
{
	char text[TOKEN_TEXT_SIZE];
	unsigned char hash[STORE_HASH_SIZE];

	if (!field_is_label(name))
		return complain("a name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit", name);
	for (unsigned i = 0; i < ELEMENTS(roles); i++) {
		if (strcmp(role, roles[i]) != 0)
			continue;
		token_make(text, hash);
		int r = store_add_token(store, name, (enum store_role)i, hash, now);
		if (r == -EEXIST)
			return complain("there is a token of that name; delete it first", name);
		if (r < 0)
			return EX_IOERR;
		/* Shown once: nobody has a token that was not. */
		bool shown = printf("%s\n", text) > 0 && fflush(stdout) == 0;
		explicit_bzero(text, sizeof(text));
		if (shown)
			return EX_OK;
		if (store_delete_token(store, name) < 0)
			complain("could not be printed, and stays: delete it", name);
		else
			complain("could not be printed, and is none", name);
		return EX_IOERR;
	}
	return complain("the role must be operator, helpdesk or reader", role);
}

static int print_token(void *context, const char *name, const char *role)
{
	(void)context;
	return printf("%s\t%s\n", name, role) < 0 ? -EIO : 0;
}

int token_command(struct store *store, int argc, char **argv, int64_t now)
{
	if (argc == 1 && strcmp(argv[0], "list") == 0)
		return store_list_tokens(store, print_token, NULL) < 0 ? EX_IOERR : EX_OK;
	if (argc == 2 && strcmp(argv[0], "delete") == 0) {
		int r = store_delete_token(store, argv[1]);
		if (r == -ENOENT)
			return complain("there is no such token", argv[1]);
		return r < 0 ? EX_IOERR : EX_OK;
	}
	if (argc == 2 && strcmp(argv[0], "add") == 0)
		return add(store, argv[1], "operator", now);
	if (argc == 4 && strcmp(argv[0], "add") == 0 && strcmp(argv[2], "--role") == 0)
		return add(store, argv[1], argv[3], now);
	if (argc == 4 && strcmp(argv[0], "add") == 0 && strcmp(argv[1], "--role") == 0)
		return add(store, argv[3], argv[2], now);
	(void)fprintf(stderr,
		"usage: latchkey-endpoint token add NAME [--role operator|helpdesk|reader] | list | delete NAME\n");
	return EX_USAGE;
}
