/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/password_policy.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#define DECORATION_MAX 5u /* what people put around a common word: "password1!A" has three */
#define FOLDED_MAX 512u

/* What every list of leaked passwords begins with, in lower case and without decoration. */
static const char *const common[] = {"password", "passwort", "passw", "passwd", "qwerty", "qwertz", "azerty", "asdfgh",
	"zxcvbn", "letmein", "welcome", "admin", "administrator", "root", "toor", "iloveyou", "monkey", "dragon",
	"football", "baseball", "basketball", "sunshine", "princess", "superman", "batman", "master", "shadow",
	"michael", "jennifer", "jordan", "hunter", "charlie", "trustno", "access", "freedom", "whatever", "starwars",
	"secret", "changeme", "default", "computer", "internet", "samsung", "google", "summer", "winter", "spring",
	"autumn", "liverpool", "arsenal", "chelsea", "abcdefg", "abcabc", "aaaaaa", "test", "testtest", "guest",
	"login", "hello", "server", "cloud", "debian", "ubuntu", "centos", "redhat", "linux", "vagrant", "oracle",
	"mysql", "postgres", "ansible"};
static const char *const common_digits[] = {"123456", "1234567", "12345678", "123456789", "1234567890", "987654321",
	"111111", "000000", "123123", "121212", "112233", "654321", "102030"};

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : c;
}

static unsigned char unleet(unsigned char c)
{
	static const char from[] = "01345789@$!+", to[] = "oieastbgasit";
	const char *at = c ? strchr(from, c) : NULL;
	return at ? (unsigned char)to[at - from] : lower(c);
}

static bool is_name(const struct secret *password, const char *user)
{
	size_t size = strlen(user);
	bool same = password->size == size, reversed = same;

	for (size_t i = 0; i < size && (same || reversed); i++) {
		unsigned char c = lower(password->bytes[i]);
		same = same && c == lower((unsigned char)user[i]);
		reversed = reversed && c == lower((unsigned char)user[size - 1 - i]);
	}
	return size > 0 && (same || reversed);
}

/* True when the word stands in the text and little else does. */
static bool is_word(const struct secret *text, const char *word)
{
	size_t size = strlen(word);

	return text->size >= size && text->size - size <= DECORATION_MAX &&
	       memmem(text->bytes, text->size, word, size) != NULL;
}

static bool is_common(const struct secret *password)
{
	cleanup_secret struct secret plain = {0}, folded = {0};

	if (password->size > FOLDED_MAX)
		return false;
	if (secret_allocate(password->size, &plain) < 0 || secret_allocate(password->size, &folded) < 0)
		return true; /* not checked is not good */
	for (size_t i = 0; i < password->size; i++) {
		plain.bytes[i] = lower(password->bytes[i]);
		folded.bytes[i] = unleet(password->bytes[i]);
	}
	for (unsigned i = 0; i < ELEMENTS(common); i++) {
		if (is_word(&plain, common[i]) || is_word(&folded, common[i]))
			return true;
	}
	for (unsigned i = 0; i < ELEMENTS(common_digits); i++) {
		if (is_word(&plain, common_digits[i]))
			return true;
	}
	return false;
}

const char *password_policy_check(const struct password_policy *policy, const struct secret *password, const char *user)
{
	int64_t characters = 0;
	bool classes[4] = {false, false, false, false};

	for (size_t i = 0; i < password->size; i++) {
		unsigned char c = password->bytes[i];

		if (c < 0x20 || c == 0x7f)
			return "it holds a control character";
		/* C1 as UTF-8; whoever reads the tty eats them */
		if (c == 0xc2 && i + 1 < password->size && password->bytes[i + 1] < 0xa0)
			return "it holds a control character";
		characters += (c & 0xc0) != 0x80;
		classes[c >= 'a' && c <= 'z' ? 0 : c >= 'A' && c <= 'Z' ? 1 : c >= '0' && c <= '9' ? 2 : 3] = true;
	}
	if (characters < policy->minimum)
		return "it is shorter than [password] min";
	if (characters > policy->maximum)
		return "it is longer than [password] max";
	if (classes[0] + classes[1] + classes[2] + classes[3] < policy->classes)
		return "it has too few of lower case, upper case, digits and others ([password] classes)";
	if (is_name(password, user))
		return "it is the user's name, or that reversed";
	return is_common(password) ? "it is a common password with little added" : NULL;
}

/* One of `count` (≤ 256) values, all equally likely. */
static int random_below(unsigned count, unsigned *ret_value)
{
	unsigned limit = 256 - 256 % count;
	unsigned char byte;

	do {
		if (getrandom(&byte, 1, 0) != 1)
			return -EIO;
	} while (byte >= limit);
	*ret_value = byte % count;
	explicit_bzero(&byte, sizeof(byte));
	return 0;
}

int password_generate(unsigned length, struct secret *ret_password)
{
	/* Without what people mistake for another when they read it aloud or off a screen: 0 O o, 1 I l, and quotes. */
	static const char alphabet[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_+=.:@%!?#";
	const struct password_policy all = {.minimum = 1, .maximum = INT64_MAX, .classes = 4};
	cleanup_secret struct secret password = {0};

	if (length < 8 || length > 256)
		return -EINVAL;
	int r = secret_allocate(length, &password);
	if (r < 0)
		return r;
	/* Drawn again as a whole, not patched: patching would make some passwords likelier. 1 in 4 is drawn again. */
	do {
		for (unsigned i = 0; i < length; i++) {
			unsigned value;
			r = random_below(sizeof(alphabet) - 1, &value);
			if (r < 0)
				return r;
			password.bytes[i] = (unsigned char)alphabet[value];
		}
	} while (password_policy_check(&all, &password, "") != NULL);
	*ret_password = password;
	password = (struct secret){0};
	return 0;
}
