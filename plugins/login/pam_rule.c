/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/pam_rule.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX (1u << 20)
#define BLANKS " \t"
#define WORD_MAX 128u

struct word {
	const char *text;
	size_t size;
};

static bool take_word(const char **at, struct word *ret_word)
{
	*at += strspn(*at, BLANKS);
	*ret_word = (struct word){*at, strcspn(*at, BLANKS)};
	*at += ret_word->size;
	return ret_word->size > 0;
}

static bool is(const struct word *word, const char *text)
{
	return strlen(text) == word->size && memcmp(word->text, text, word->size) == 0;
}

static bool is_one_of(const struct word *word, const char *const *texts)
{
	while (*texts && !is(word, *texts))
		texts++;
	return *texts != NULL;
}

static bool has_prefix(const struct word *word, const char *prefix, struct word *ret_rest)
{
	size_t size = strlen(prefix);

	if (word->size < size || memcmp(word->text, prefix, size) != 0)
		return false;
	*ret_rest = (struct word){word->text + size, word->size - size};
	return true;
}

static bool read_number(const struct word *word, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (word->size == 0 || word->size > 10)
		return false;
	for (size_t i = 0; i < word->size; i++) {
		if (word->text[i] < '0' || word->text[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(word->text[i] - '0');
	}
	*ret_number = number;
	return true;
}

/* The arguments behind the module's name; NULL where one of them is in brackets, which may hold blanks. */
static const char *find_arguments(const char *line, const char *module)
{
	const char *at = strstr(line, module);

	at = at ? at + strcspn(at, BLANKS) : "";
	return strchr(at, '[') ? NULL : at;
}

/* The next of a list that colons divide; advances over it. */
static bool take_item(struct word *list, struct word *ret_item)
{
	if (!list->text)
		return false;
	const char *colon = memchr(list->text, ':', list->size);
	*ret_item = (struct word){list->text, colon ? (size_t)(colon - list->text) : list->size};
	*list = colon ? (struct word){colon + 1, list->size - ret_item->size - 1} : (struct word){NULL, 0};
	return true;
}

static bool is_among(struct word list, const char *text)
{
	struct word item;

	while (take_item(&list, &item)) {
		if (is(&item, text))
			return true;
	}
	return false;
}

static bool is_in_one_group(const struct person *person, struct word list)
{
	struct word item;

	while (take_item(&list, &item)) {
		if (person_is_in_group(person, item.text, item.size))
			return true;
	}
	return false;
}

static bool left_side(const struct person *person, const struct word *name, char ret_text[WORD_MAX])
{
	const struct account *account = &person->account;
	int size = -1;

	if (is(name, "user"))
		size = snprintf(ret_text, WORD_MAX, "%s", account->name);
	else if (is(name, "uid"))
		size = snprintf(ret_text, WORD_MAX, "%" PRIu32, account->uid);
	else if (is(name, "gid"))
		size = snprintf(ret_text, WORD_MAX, "%" PRIu32, account->gid);
	else if (is(name, "shell"))
		size = snprintf(ret_text, WORD_MAX, "%s", account->shell);
	else if (is(name, "home"))
		size = snprintf(ret_text, WORD_MAX, "%s", account->home);
	else if (is(name, "service"))
		size = snprintf(ret_text, WORD_MAX, "sshd");
	return size >= 0 && size < (int)WORD_MAX;
}

static enum pam_verdict when(bool true_)
{
	return true_ ? PAM_LETS_IN : PAM_KEEPS_OUT;
}

static enum pam_verdict compare_numbers(const char *left_text, const struct word *operator, const struct word * right)
{
	static const char *const operators[][3] = {
		{"<", "lt"}, {"<=", "le"}, {"==", "eq"}, {"ne"}, {">=", "ge"}, {">", "gt"}};
	const struct word left_word = {left_text, strlen(left_text)};
	uint64_t left, other;

	if (!read_number(&left_word, &left) || !read_number(right, &other))
		return PAM_UNKNOWN;
	const bool answers[] = {left<other, left <= other, left == other, left != other, left >= other, left> other};
	for (unsigned i = 0; i < ELEMENTS(operators); i++) {
		if (is_one_of(operator, operators[i]))
			return when(answers[i]);
	}
	return PAM_UNKNOWN;
}

static enum pam_verdict judge_condition(
	const struct person *person, const struct word *left, const struct word *operator, const struct word * right)
{
	char text[WORD_MAX], pattern[WORD_MAX];
	bool negated = operator->size> 3 && memcmp(operator->text, "not", 3) == 0;

	if (!left_side(person, left, text) || right->size >= sizeof(pattern))
		return PAM_UNKNOWN;
	memcpy(pattern, right->text, right->size);
	pattern[right->size] = '\0';
	if (is(operator, "=") || is(operator, "!="))
		return when((strcmp(text, pattern) == 0) == is(operator, "="));
	if (is(operator, "=~") || is(operator, "!~"))
		return when((fnmatch(pattern, text, 0) == 0) == is(operator, "=~"));
	if (is(operator, "in") || is(operator, "notin"))
		return when(is_among(*right, text) != negated);
	if (is(left, "user") && (is(operator, "ingroup") || is(operator, "notingroup")))
		return when(is_in_one_group(person, *right) != negated);
	return compare_numbers(text, operator, right);
}

/* FLAG… then LEFT OPERATOR RIGHT…, all of which must hold. */
static enum pam_verdict judge_succeed_if(const struct person *person, const char *arguments)
{
	static const char *const flags[] = {"debug", "quiet", "quiet_fail", "quiet_success", "audit", NULL};
	enum pam_verdict verdict = PAM_LETS_IN;
	struct word left, operator, right;
	bool judged = false;

	while (take_word(&arguments, &left)) {
		if (is_one_of(&left, flags))
			continue;
		if (!take_word(&arguments, &operator) || !take_word(&arguments, &right))
			return PAM_UNKNOWN;
		enum pam_verdict one = judge_condition(person, &left, &operator, & right);
		judged = true;
		if (one == PAM_KEEPS_OUT)
			return one;
		verdict = one == PAM_UNKNOWN ? one : verdict;
	}
	return judged ? verdict : PAM_UNKNOWN;
}

static bool stands_in(char *list, const struct person *person, bool groups)
{
	for (char *line; (line = strsep(&list, "\n")) != NULL;) {
		size_t size = strlen(line);
		if (size > 0 && line[size - 1] == '\r')
			line[--size] = '\0';
		const struct word word = {line, size};
		if (size > 0 && (groups ? person_is_in_group(person, line, size) : is(&word, person->account.name)))
			return true;
	}
	return false;
}

/* item=user|group sense=allow|deny file=PATH onerr=succeed|fail; apply= is for other items */
static int judge_listfile(
	const struct world *world, const struct person *person, const char *arguments, enum pam_verdict *ret_verdict)
{
	struct word word, rest, item = {"", 0}, sense = {"", 0}, file = {"", 0};
	bool lets_in_on_error = false;
	cleanup_free char *list = NULL;
	char path[256];

	while (take_word(&arguments, &word)) {
		if (has_prefix(&word, "item=", &rest))
			item = rest;
		else if (has_prefix(&word, "sense=", &rest))
			sense = rest;
		else if (has_prefix(&word, "file=", &rest))
			file = rest;
		else if (has_prefix(&word, "onerr=", &rest))
			lets_in_on_error = is(&rest, "succeed");
	}
	*ret_verdict = PAM_UNKNOWN;
	if (file.size == 0 || file.size >= sizeof(path) || *file.text != '/' ||
		!(is(&item, "user") || is(&item, "group")) || !(is(&sense, "allow") || is(&sense, "deny")))
		return 0;
	memcpy(path, file.text, file.size);
	path[file.size] = '\0';
	int r = world_read(world, path, LIST_MAX, &list);
	if (r < 0) {
		*ret_verdict = r == -ENOENT && lets_in_on_error ? PAM_LETS_IN : PAM_UNKNOWN;
		return r == -ENOMEM ? r : 0;
	}
	*ret_verdict = when(stands_in(list, person, is(&item, "group")) == is(&sense, "allow"));
	return 0;
}

/* A time.conf with nothing but comments keeps nobody out; what times it names passes. */
static int judge_time(const struct world *world, enum pam_verdict *ret_verdict)
{
	cleanup_free char *rules = NULL;

	*ret_verdict = PAM_LETS_IN;
	int r = world_read(world, "/etc/security/time.conf", LIST_MAX, &rules);
	if (r < 0) {
		*ret_verdict = r == -ENOENT ? PAM_LETS_IN : PAM_UNKNOWN;
		return r == -ENOMEM ? r : 0;
	}
	for (char *rest = rules, *line; (line = strsep(&rest, "\n")) != NULL;) {
		line += strspn(line, BLANKS);
		if (*line != '\0' && *line != '#')
			*ret_verdict = PAM_UNKNOWN;
	}
	return 0;
}

int pam_rule_verdict(
	const struct world *world, const struct person *person, const char *line, enum pam_verdict *ret_verdict)
{
	const char *arguments;

	*ret_verdict = PAM_UNKNOWN;
	if (strstr(line, "pam_succeed_if.so")) {
		arguments = find_arguments(line, "pam_succeed_if.so");
		if (arguments)
			*ret_verdict = judge_succeed_if(person, arguments);
	} else if (strstr(line, "pam_listfile.so")) {
		arguments = find_arguments(line, "pam_listfile.so");
		return arguments ? judge_listfile(world, person, arguments, ret_verdict) : 0;
	} else if (strstr(line, "pam_time.so")) {
		return judge_time(world, ret_verdict);
	} else if (strstr(line, "pam_deny.so")) {
		*ret_verdict = PAM_KEEPS_OUT;
	}
	return 0;
}
