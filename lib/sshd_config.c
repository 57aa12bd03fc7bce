/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sshd_ask.h"
#include "lib/sshd_open.h"
#include "lib/sshd_process.h"

#define ANSWERS_MAX 8192u        /* users of one run: 4,096 commands name no more, and the guard's candidates */
#define CACHE_MAX (2u << 20)     /* the key and 1 MiB of answer */
#define PID_FILE "/run/sshd.pid" /* sshd's default */
#define CACHE_NAME "effective"
#define VERSION_NAME "version"
#define STRANGER "192.0.2.1" /* never 127.0.0.1: the one address that people exempt */
#define SPECIFICATION "host=client.invalid,laddr=192.0.2.2"
#define USUAL_PORT 22u

struct answer {
	char *user; /* NULL: for everyone */
	char *text;
	struct sshd_effective effective;
};

struct sshd {
	int root, state;
	bool is_host;
	struct sshd_scan scan;
	const char *address;
	unsigned port;         /* at which the stranger knocks; 0 until sshd has said where it listens */
	struct timespec began; /* by the clock that stamps files, before the first was read */
	struct answer *answers;
	size_t count;
	struct answer scanned;
	char **options;  /* of the sshd that runs: -p, -o and their like weigh more than any file */
	bool other_file; /* it runs with -f: what the scan read is not its configuration */
	unsigned major, minor;
};

static void free_answer(struct answer *answer)
{
	free(answer->user);
	free(answer->text);
	free(answer->effective.values);
}

/* An sshd that does not run, or does not say how it was started, has none. */
static int find_options(struct sshd *sshd)
{
	const struct sshd_setting *setting = sshd_scan_global(&sshd->scan, "pidfile");
	cleanup_sshd_process struct sshd_process process = {0, -1};

	if (!sshd->is_host || sshd_process_find(setting ? setting->arguments[0] : PID_FILE, &process) < 0)
		return 0;
	int r = sshd_process_options(&process, &sshd->options);
	if (r == -ENOMEM)
		return r;
	sshd->other_file = !sshd_process_reads(sshd->options, sshd->scan.main_path);
	return 0;
}

int sshd_open(int root, bool is_host, int state, struct sshd **ret_sshd, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	cleanup_sshd struct sshd *sshd = calloc(1, sizeof(*sshd));
	if (!sshd)
		return -ENOMEM;
	sshd->root = root;
	sshd->is_host = is_host;
	sshd->state = state;
	sshd->address = STRANGER;
	if (clock_gettime(CLOCK_REALTIME_COARSE, &sshd->began) < 0)
		return -errno;
	int r = sshd_scan_read(root, NULL, &sshd->scan, ret_detail);
	if (r < 0)
		return r;
	r = find_options(sshd);
	if (r < 0)
		return r;
	*ret_sshd = steal_pointer(&sshd);
	return 0;
}

void sshd_close(struct sshd *sshd)
{
	if (!sshd)
		return;
	for (size_t i = 0; i < sshd->count; i++)
		free_answer(&sshd->answers[i]);
	free_answer(&sshd->scanned);
	free(sshd->answers);
	file_names_free(&sshd->options);
	sshd_scan_free(&sshd->scan);
	free(sshd);
}

void sshd_set_address(struct sshd *sshd, const char *address)
{
	sshd->address = address;
}

const struct sshd_scan *sshd_get_scan(const struct sshd *sshd)
{
	return &sshd->scan;
}

/* "keyword value" per line, as sshd -T prints; takes the text over. */
static int parse_answer(char *text, bool scanned, struct answer *ret_answer)
{
	size_t capacity = 1;

	for (const char *at = text; *at; at++)
		capacity += *at == '\n';
	struct sshd_value *values = calloc(capacity + 1, sizeof(*values));
	if (!values)
		return -ENOMEM;
	ret_answer->text = text;
	ret_answer->effective = (struct sshd_effective){values, 0, scanned};
	for (char *line = text; *line;) {
		char *next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		char *value = line + strcspn(line, " ");
		if (*value)
			*value++ = '\0';
		for (char *at = line; *at; at++)
			*at = (char)tolower((unsigned char)*at);
		if (strcmp(line, "challengeresponseauthentication") == 0) /* its name before 8.7 */
			values[ret_answer->effective.count++] =
				(struct sshd_value){"kbdinteractiveauthentication", value};
		if (*line)
			values[ret_answer->effective.count++] = (struct sshd_value){line, value};
		line = next;
	}
	return 0;
}

static bool is_racy(const struct sshd *sshd, const struct sshd_file *file)
{
	return !file->missing &&
	       (file->changed_s > sshd->began.tv_sec ||
		       (file->changed_s == sshd->began.tv_sec && file->changed_ns >= (uint32_t)sshd->began.tv_nsec));
}

static void append_identity(struct buffer *key, const struct sshd_file *file)
{
	if (file->missing)
		buffer_append_format(key, "- %s\n", file->path);
	else
		buffer_append_format(key,
			"%c %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 ".%09u %" PRId64 ".%09u %s\n",
			file->is_directory ? 'd' : 'f', file->device, file->inode, file->size, file->modified_s,
			file->modified_ns, file->changed_s, file->changed_ns, file->path);
}

static int program_identity(struct buffer *key)
{
	const char *program = sshd_ask_program();
	cleanup_close int descriptor = program ? open(program, O_PATH | O_CLOEXEC) : -1;
	struct sshd_file file;
	struct stat status;

	if (descriptor < 0)
		return -ENOENT;
	if (fstat(descriptor, &status) < 0)
		return -errno;
	sshd_file_identify(&status, &file);
	cleanup_free char *path = strdup(program);
	if (!path)
		return -ENOMEM;
	file.path = path;
	append_identity(key, &file);
	return 0;
}

/* Everything the answer depends on, as text; equal text, equal answer. */
static int make_key(const struct sshd *sshd, struct buffer *key)
{
	buffer_append_text(key, "latchkey sshd -T 1\n");
	int r = program_identity(key);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sshd->scan.file_count; i++)
		append_identity(key, &sshd->scan.files[i]);
	for (char **option = sshd->options; option && *option; option++)
		buffer_append_format(key, "%s\n", *option);
	buffer_append(key, "\n", 1);
	return buffer_status(key);
}

static int add_answer(struct sshd *sshd, const char *user, char *text, const struct sshd_effective **ret_effective)
{
	struct answer answer = {0};

	if (sshd->count == ANSWERS_MAX)
		return -E2BIG;
	/* Borrowed pointers to answers already given must not move: the values are on the heap, the structs are not. */
	if (!sshd->answers) {
		sshd->answers = calloc(ANSWERS_MAX, sizeof(*sshd->answers));
		if (!sshd->answers)
			return -ENOMEM;
	}
	if (user) {
		answer.user = strdup(user);
		if (!answer.user)
			return -ENOMEM;
	}
	int r = parse_answer(text, false, &answer);
	if (r < 0) {
		free(answer.user);
		return r;
	}
	sshd->answers[sshd->count] = answer;
	*ret_effective = &sshd->answers[sshd->count++].effective;
	return 0;
}

static int load_cached(struct sshd *sshd, const struct buffer *key, const struct sshd_effective **ret_effective)
{
	cleanup_free char *bytes = NULL, *text = NULL;
	size_t size;

	int r = file_read(sshd->state, CACHE_NAME, CACHE_MAX, &bytes, &size);
	if (r < 0)
		return r;
	if (size <= key->size || memcmp(bytes, key->bytes, key->size) != 0 || strlen(bytes) != size ||
		bytes[size - 1] != '\n')
		return -ESTALE;
	text = strdup(bytes + key->size);
	if (!text)
		return -ENOMEM;
	r = add_answer(sshd, NULL, text, ret_effective);
	if (r == 0)
		text = NULL;
	return r;
}

/* Best effort: without it the next run asks again. */
static void store_cached(const struct sshd *sshd, const struct buffer *key, const struct buffer *answer)
{
	cleanup_buffer struct buffer file = {0};

	for (size_t i = 0; i < sshd->scan.file_count; i++) {
		const struct sshd_file *read = &sshd->scan.files[i];
		if (is_racy(sshd, read) || !sshd_file_is_unchanged(sshd->root, read))
			return;
	}
	buffer_append(&file, key->bytes, key->size);
	buffer_append(&file, answer->bytes, answer->size);
	if (buffer_status(&file) == 0 && file.size <= CACHE_MAX && !memchr(file.bytes, '\0', file.size))
		(void)!file_replace_simple(sshd->state, CACHE_NAME, file.bytes, file.size, 0600);
}

static int ask_at(struct sshd *sshd, const char *user, unsigned port, struct buffer *ret_text,
	char ret_detail[SSHD_DETAIL_MAX + 1])
{
	cleanup_process_result struct process_result result = {0};
	cleanup_free char *specification = NULL;

	if (asprintf(&specification, "user=%s,addr=%s,%s,lport=%u", user, sshd->address, SPECIFICATION, port) < 0)
		return -ENOMEM;
	const char *arguments[SSHD_ASK_ARGUMENTS_MAX + 1] = {"-T", "-C", specification};
	for (unsigned i = 0; sshd->options && sshd->options[i] && i < SSHD_PROCESS_OPTIONS_MAX; i++)
		arguments[i + 3] = sshd->options[i];
	int r = sshd_ask_run(sshd->state, arguments, &result);
	if (r < 0) {
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "sshd -T: %s", strerror(-r));
		return r == -ENOENT || r == -ENOMEM ? r : -EAGAIN;
	}
	if (!process_exited(&result, 0)) {
		char words[SSHD_DETAIL_MAX + 1];
		sshd_ask_words(&result, ret_detail);
		return sshd_ask_validity(sshd->state, sshd->options, words) == SSHD_INVALID ? -EBADMSG : -EAGAIN;
	}
	if (result.output.size == 0)
		return -EAGAIN;
	*ret_text = result.output;
	result.output = (struct buffer){0};
	return 0;
}

/* Where a stranger comes in: by the usual port where sshd has it, else by its first. */
static unsigned find_port(const char *answer)
{
	static const char listen[] = "listenaddress ";
	unsigned first = 0;

	for (const char *line = answer; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, listen, sizeof(listen) - 1) != 0)
			continue;
		unsigned port = 0;
		for (const char *at = line + sizeof(listen) - 1; *at && !strchr(" \n", *at); at++) /* the last number */
			port = !isdigit((unsigned char)*at) || port > UINT16_MAX ? 0
										 : port * 10 + (unsigned)(*at - '0');
		if (port == USUAL_PORT)
			return port;
		first = first ? first : port;
	}
	return first ? first : USUAL_PORT;
}

static int ask(struct sshd *sshd, const char *user, struct buffer *ret_text, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	cleanup_buffer struct buffer text = {0};

	int r = ask_at(sshd, user, sshd->port ? sshd->port : USUAL_PORT, &text, ret_detail);
	if (r == 0 && sshd->port == 0) {
		sshd->port = find_port(text.bytes);
		if (sshd->scan.has_match && sshd->port != USUAL_PORT) { /* Match LocalPort is about this one */
			buffer_free(&text);
			r = ask_at(sshd, user, sshd->port, &text, ret_detail);
		}
	}
	if (r < 0)
		return r;
	*ret_text = text;
	text = (struct buffer){0};
	return 0;
}

static bool is_askable_name(const char *user)
{
	/* -C is a list of name=value with commas; such a name is no account's. */
	return *user && strlen(user) < 256 && !strpbrk(user, ",=\n\r\t ");
}

int sshd_get_effective(struct sshd *sshd, const char *user, const struct sshd_effective **ret_effective,
	char ret_detail[SSHD_DETAIL_MAX + 1])
{
	cleanup_buffer struct buffer key = {0}, text = {0};
	bool shared = !sshd->scan.has_match && !sshd->other_file;
	int r;

	if (!sshd->is_host)
		return sshd_get_scanned(sshd, ret_effective);
	for (size_t i = 0; i < sshd->count; i++) {
		const char *of = sshd->answers[i].user;
		if (!of || strcmp(of, user) == 0) {
			*ret_effective = &sshd->answers[i].effective;
			return 0;
		}
	}
	if (!is_askable_name(user))
		return -EINVAL;
	if (shared && sshd->state >= 0) {
		r = make_key(sshd, &key);
		if (r == 0 && load_cached(sshd, &key, ret_effective) == 0)
			return 0;
		if (r == -ENOENT)
			(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "no sshd is installed");
		if (r < 0)
			return r;
	}
	r = ask(sshd, user, &text, ret_detail);
	if (r < 0)
		return r;
	if (shared && sshd->state >= 0)
		store_cached(sshd, &key, &text);
	cleanup_free char *copy = buffer_steal(&text);
	if (!copy)
		return -ENOMEM;
	r = add_answer(sshd, shared ? NULL : user, copy, ret_effective);
	if (r == 0)
		copy = NULL;
	return r;
}

/* Keywords whose values add up; sshd -T prints one line for each. */
static bool is_list(const char *keyword)
{
	static const char *const lists[] = {
		"allowusers", "denyusers", "allowgroups", "denygroups", "port", "listenaddress", "hostkey"};

	for (unsigned i = 0; i < ELEMENTS(lists); i++) {
		if (strcmp(lists[i], keyword) == 0)
			return true;
	}
	return false;
}

int sshd_get_scanned(struct sshd *sshd, const struct sshd_effective **ret_effective)
{
	static const char defaults[] =
		"port 22\npasswordauthentication yes\nkbdinteractiveauthentication yes\npubkeyauthentication yes\n"
		"permitrootlogin prohibit-password\npermitemptypasswords no\nusepam no\nstrictmodes yes\n"
		"authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\nauthenticationmethods any\n"
		"authorizedkeyscommand none\ntrustedusercakeys none\nrevokedkeys none\npidfile /run/sshd.pid\n";
	cleanup_buffer struct buffer text = {0};

	if (sshd->scanned.text) {
		*ret_effective = &sshd->scanned.effective;
		return 0;
	}
	for (size_t i = 0; i < sshd->scan.count; i++) {
		const struct sshd_setting *setting = &sshd->scan.settings[i];
		const char *keyword = setting->keyword;
		if (setting->match >= 0 || strcmp(keyword, "match") == 0 || strcmp(keyword, "include") == 0)
			continue;
		if (is_list(keyword)) {
			for (unsigned j = 0; j < setting->count; j++)
				buffer_append_format(&text, "%s %s\n", keyword, setting->arguments[j]);
			continue;
		}
		buffer_append_text(&text, keyword);
		for (unsigned j = 0; j < setting->count; j++)
			buffer_append_format(&text, " %s", setting->arguments[j]);
		buffer_append(&text, "\n", 1);
	}
	buffer_append_text(&text, defaults); /* last: the first value wins here too */
	char *copy = buffer_steal(&text);
	if (!copy)
		return -ENOMEM;
	int r = parse_answer(copy, true, &sshd->scanned);
	if (r < 0) {
		free(copy);
		return r;
	}
	*ret_effective = &sshd->scanned.effective;
	return 0;
}

const char *sshd_value(const struct sshd_effective *effective, const char *keyword)
{
	for (size_t i = 0; i < effective->count; i++) {
		if (strcmp(effective->values[i].keyword, keyword) == 0)
			return effective->values[i].value;
	}
	return NULL;
}

/* Before 8.7 keyboard-interactive has two switches, printed one after the other, and either opens the door. */
bool sshd_is_yes(const struct sshd_effective *effective, const char *keyword)
{
	for (size_t i = 0; i < effective->count; i++) {
		const struct sshd_value *value = &effective->values[i];
		if (strcmp(value->keyword, keyword) != 0)
			continue;
		if (strcasecmp(value->value, "yes") == 0 || strcasecmp(value->value, "true") == 0)
			return true;
		if (effective->scanned) /* the first wins */
			return false;
	}
	return false;
}

static const char *meaning(const char *value)
{
	if (strcasecmp(value, "without-password") == 0)
		return "prohibit-password";
	if (strcasecmp(value, "true") == 0)
		return "yes";
	if (strcasecmp(value, "false") == 0)
		return "no";
	return value;
}

bool sshd_same_value(const char *a, const char *b)
{
	return strcasecmp(meaning(a), meaning(b)) == 0;
}

enum sshd_validity sshd_test(struct sshd *sshd, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	if (!sshd->is_host) {
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "nothing is executed below another root");
		return SSHD_CANNOT_VALIDATE;
	}
	return sshd_ask_validity(sshd->state, sshd->options, ret_detail);
}

int sshd_get_version(struct sshd *sshd, unsigned *ret_major, unsigned *ret_minor)
{
	static const char *const arguments[] = {"-V", NULL}; /* before 9.2 a usage error that names the version too */
	cleanup_process_result struct process_result result = {0};
	cleanup_buffer struct buffer key = {0};
	cleanup_free char *bytes = NULL;
	size_t size;
	int r;

	if (sshd->major == 0) {
		if (!sshd->is_host)
			return -EAGAIN;
		r = program_identity(&key);
		if (r < 0)
			return r;
		if (sshd->state >= 0 && file_read(sshd->state, VERSION_NAME, 4096, &bytes, &size) == 0 &&
			size > key.size && memcmp(bytes, key.bytes, key.size) == 0 &&
			sshd_ask_parse_version(bytes + key.size, &sshd->major, &sshd->minor) == 0)
			goto known;
		r = sshd_ask_run(sshd->state, arguments, &result);
		if (r < 0)
			return r == -ENOENT ? r : -EAGAIN;
		r = sshd_ask_parse_version(result.error.bytes ? result.error.bytes : "", &sshd->major, &sshd->minor);
		if (r < 0)
			r = sshd_ask_parse_version(
				result.output.bytes ? result.output.bytes : "", &sshd->major, &sshd->minor);
		if (r < 0)
			return r;
		buffer_append_format(&key, "OpenSSH_%u.%u\n", sshd->major, sshd->minor);
		if (sshd->state >= 0 && buffer_status(&key) == 0)
			(void)!file_replace_simple(sshd->state, VERSION_NAME, key.bytes, key.size, 0600);
	}
known:
	*ret_major = sshd->major;
	*ret_minor = sshd->minor;
	return 0;
}
