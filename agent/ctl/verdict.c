/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/ctl/output.h"
#include "agent/ctl/plugin_ask.h"
#include "lib/file.h"
#include "lib/paths.h"

#define STATUS_MAX (1u << 20) /* of status.json */

/* sshd's own standard for RequiredRSASize. */
#define RSA_BITS_DEFAULT 1024u

int verdict_may_ask(const char *user)
{
	const char *login = getenv("LOGNAME");

	/* The environment only spares the look-up: what is shown afterwards is our own uid's, whatever it says. */
	if (geteuid() == 0 || !user || (login && strcmp(login, user) == 0))
		return EXIT_OK;
	(void)fprintf(stderr, "latchctl: only root may ask about another user (leave the name out for yourself)\n");
	return EXIT_DENIED;
}

bool verdict_can(const struct verdict *verdict)
{
	if (verdict->fingerprint)
		return verdict->key_can;
	return (verdict->key_can && verdict->since == 0) || verdict->password_can;
}

static int own_name(struct verdict *verdict, struct passwd **ret_own)
{
	struct passwd *own = getpwuid(geteuid());

	if (!own || strlen(own->pw_name) >= sizeof(verdict->user)) {
		(void)fprintf(stderr, "latchctl: nobody has your uid %u\n", (unsigned)geteuid());
		return EXIT_TROUBLE;
	}
	(void)snprintf(verdict->user, sizeof(verdict->user), "%s", own->pw_name);
	*ret_own = own;
	return EXIT_OK;
}

/* Codes that a newer agent knows and we do not are left out; `can` says it all the same. */
static void read_login(const cJSON *login, const char *method, bool *ret_can, blocker_set *ret_set)
{
	const cJSON *one = NULL, *blockers = NULL, *code;
	enum blocker blocker;

	*ret_set = 0;
	if (json_get_object(login, method, &one) < 0 || json_get_bool(one, "can", ret_can) < 0 ||
		json_get_array(one, "blockers", &blockers) < 0)
		return;
	cJSON_ArrayForEach(code, blockers)
	{
		if (cJSON_IsString(code) && blocker_from_code(code->valuestring, &blocker) == 0)
			*ret_set |= BLOCKER_BIT(blocker);
	}
}

static void copy_text(const cJSON *object, const char *name, char *text, size_t size)
{
	const char *found = "";

	(void)!json_get_string(object, name, &found);
	(void)snprintf(text, size, "%s", found);
}

static int read_result(const cJSON *result, struct verdict *verdict)
{
	const cJSON *login = NULL, *unsafe = NULL, *of_user = NULL;
	const char *code = "", *detail = "";

	(void)!json_get_string(result, "code", &code);
	(void)!json_get_string(result, "detail", &detail);
	if (strcmp(code, "ok") != 0) {
		char cell[OUTPUT_CELL_MAX];
		(void)fprintf(stderr, "latchctl: %s: ", output_escape(code, cell));
		(void)fprintf(stderr, "%s\n", output_escape(detail, cell));
		return strcmp(code, "field_invalid") == 0 ? EXIT_USAGE : EXIT_TROUBLE;
	}
	if (json_get_object(result, "login", &login) < 0 || json_get_object(login, verdict->user, &of_user) < 0)
		return EXIT_PROTOCOL;
	read_login(of_user, "key", &verdict->key_can, &verdict->key);
	read_login(of_user, "password", &verdict->password_can, &verdict->password);
	if (json_get_object(result, "unsafe", &unsafe) == 0) {
		copy_text(unsafe, "path", verdict->unsafe_path, sizeof(verdict->unsafe_path));
		(void)!json_get_integer(unsafe, "mode", &verdict->unsafe_mode);
		(void)!json_get_integer(unsafe, "owner", &verdict->unsafe_owner);
	}
	copy_text(result, "sshd", verdict->sshd, sizeof(verdict->sshd));
	copy_text(result, "fail2ban", verdict->fail2ban, sizeof(verdict->fail2ban));
	verdict->by_engine = verdict->is_known = true;
	return EXIT_OK;
}

static int ask_engine(struct verdict *verdict)
{
	cleanup_buffer struct buffer command = {0};
	struct json_writer writer = {&command, false};
	cleanup_json cJSON *reply = NULL;
	const cJSON *result;

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "id", "doctor");
	json_put_string(&writer, "do", "diagnose");
	json_put_string(&writer, "user", verdict->user);
	if (verdict->from)
		json_put_string(&writer, "from", verdict->from);
	if (verdict->fingerprint)
		json_put_string(&writer, "fingerprint", verdict->fingerprint);
	json_end_object(&writer);
	if (buffer_status(&command) < 0)
		return EXIT_TROUBLE;
	int code = plugin_ask("login", false, command.bytes, &reply, &result);
	return code == EXIT_OK ? read_result(result, verdict) : code;
}

/* What the agent last saw; silent when it does not run or never touched him. */
static void ask_agent(struct verdict *verdict)
{
	cleanup_client struct client client = {.descriptor = -1};
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL, *users = NULL, *user;
	int64_t uid;

	if (client_open(PATH_STATUS_SOCKET, &client) < 0 ||
		ask_call(&client, "io.latchkey.Agent.ListUsers", NULL, false, &reply, &answer) != EXIT_OK ||
		json_get_array(answer, "users", &users) < 0)
		return;
	cJSON_ArrayForEach(user, users)
	{
		if (json_get_integer(user, "uid", &uid) < 0 || uid != (int64_t)geteuid())
			continue;
		read_login(user, "key", &verdict->key_can, &verdict->key);
		read_login(user, "password", &verdict->password_can, &verdict->password);
		verdict->is_known = true;
	}
}

/* Debian's sshd lets a group of which the user is the only member write; by the name that useradd gives such a group.
 */
static bool has_private_group(const struct passwd *own)
{
	const struct group *group = getgrgid(own->pw_gid);
	struct stat status;

	return stat("/etc/debian_version", &status) == 0 && group && strcmp(group->gr_name, own->pw_name) == 0 &&
	       !group->gr_mem[0];
}

/* The standard places: where the configuration puts them is not for everybody to read. */
static int look_at_own_files(struct verdict *verdict, const struct passwd *own)
{
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char first[512], second[512];
	const char *const paths[] = {first, second, NULL}, *const nothing[] = {NULL};

	(void)snprintf(first, sizeof(first), "%s/.ssh/authorized_keys", own->pw_dir);
	(void)snprintf(second, sizeof(second), "%s/.ssh/authorized_keys2", own->pw_dir);
	const struct key_files_question question = {.root = root,
		.root_path = "/",
		.home = own->pw_dir,
		.uid = own->pw_uid,
		.paths = paths,
		.strict = true,
		.private_groups = &own->pw_gid,
		.private_count = has_private_group(own) ? 1 : 0,
		.now = time(NULL),
		.address = verdict->from,
		.rsa_bits = RSA_BITS_DEFAULT,
		.revoked = nothing,
		.excluded = nothing,
		.fingerprint = verdict->fingerprint};
	if (root < 0 || key_files_look(&question, &verdict->files) < 0)
		return EXIT_TROUBLE;
	verdict->has_files = true;
	blocker_set mine = key_files_blockers(&verdict->files, false);
	if (verdict->fingerprint) { /* the agent's answer is about any key */
		verdict->key &= ~(BLOCKER_BIT(BLOCKER_NO_KEY) | BLOCKER_BIT(BLOCKER_KEYS_FILE_MISSING));
		verdict->key |= mine;
	} else if (!verdict->is_known) {
		verdict->key = mine;
	} else if (verdict->key_can) {
		verdict->since = mine;
	}
	verdict->key_can = verdict->key == 0 && (verdict->key_can || !verdict->is_known || verdict->fingerprint);
	(void)snprintf(verdict->unsafe_path, sizeof(verdict->unsafe_path), "%s", verdict->files.unsafe_path);
	verdict->unsafe_mode = verdict->files.unsafe_mode;
	verdict->unsafe_owner = verdict->files.unsafe_owner;
	return EXIT_OK;
}

int verdict_ask(const char *user, const char *from, const char *fingerprint, struct verdict *ret_verdict)
{
	struct verdict *verdict = ret_verdict;
	struct passwd *own = NULL;

	*verdict = (struct verdict){.from = from, .fingerprint = fingerprint};
	int code = verdict_may_ask(user);
	if (code != EXIT_OK)
		return code;
	if (geteuid() == 0 && user) {
		(void)snprintf(verdict->user, sizeof(verdict->user), "%s", user);
		return ask_engine(verdict);
	}
	code = own_name(verdict, &own);
	if (code != EXIT_OK)
		return code;
	if (geteuid() == 0)
		return ask_engine(verdict);
	ask_agent(verdict);
	return look_at_own_files(verdict, own);
}

/* The exact path and mode beat the table's guess. */
static void put_guest_command(const struct verdict *verdict, enum blocker blocker, struct buffer *out)
{
	const struct blocker_names names = {.user = verdict->user, .address = verdict->from};

	if (blocker != BLOCKER_STRICT_MODES || !*verdict->unsafe_path) {
		blocker_put_guest_command(blocker, &names, out);
		return;
	}
	if (verdict->unsafe_mode & 022)
		buffer_append_format(out, "chmod go-w '%s'", verdict->unsafe_path);
	else
		buffer_append_format(out, "chown %s '%s'", verdict->user, verdict->unsafe_path);
}

char *verdict_instance(void)
{
	cleanup_close int directory = -1;
	cleanup_free char *bytes = NULL;
	cleanup_json cJSON *status = NULL;
	const char *name = NULL;
	size_t size;

	if (file_open_directory(AT_FDCWD, PATH_RUN, &directory) < 0 ||
		file_read(directory, "status.json", STATUS_MAX, &bytes, &size) < 0 ||
		json_parse_object(bytes, size, &status) < 0 || json_get_string(status, "instance", &name) < 0)
		return NULL;
	return strdup(name);
}

static void print_blockers(const struct verdict *verdict, blocker_set set, const char *instance)
{
	const struct blocker_names names = {verdict->user, instance, verdict->from};
	char cell[OUTPUT_CELL_MAX];

	for (unsigned i = 0; i < BLOCKER_COUNT; i++) {
		cleanup_buffer struct buffer guest = {0}, console = {0};
		enum blocker blocker = (enum blocker)i;
		if (!(set & BLOCKER_BIT(i)))
			continue;
		(void)printf("    %s: %s\n", blocker_code(blocker), blocker_sentence(blocker));
		if (blocker == BLOCKER_STRICT_MODES && *verdict->unsafe_path)
			(void)printf("      %s is %04o of uid %u\n", output_escape(verdict->unsafe_path, cell),
				(unsigned)verdict->unsafe_mode, (unsigned)verdict->unsafe_owner);
		put_guest_command(verdict, blocker, &guest);
		if (buffer_status(&guest) == 0)
			(void)printf("      here:    %s\n", output_escape(guest.bytes, cell));
		if (blocker_put_console_command(blocker, &names, &console) && buffer_status(&console) == 0)
			(void)printf("      console: %s\n", output_escape(console.bytes, cell));
	}
}

static void print_method(
	const struct verdict *verdict, const char *method, bool can, blocker_set set, const char *instance)
{
	(void)printf("  login by %s: %s\n", method, can ? "yes" : "no");
	print_blockers(verdict, set, instance);
}

void verdict_print(const struct verdict *verdict)
{
	cleanup_free char *instance = verdict_instance();
	char cell[OUTPUT_CELL_MAX], other[OUTPUT_CELL_MAX];

	(void)printf("%s%s%s%s%s\n", output_escape(verdict->user, cell), verdict->from ? " from " : "",
		verdict->from ? verdict->from : "", verdict->fingerprint ? " with " : "",
		verdict->fingerprint ? output_escape(verdict->fingerprint, other) : "");
	if (!verdict->by_engine)
		(void)printf("  %s\n",
			verdict->is_known
				? "What the agent saw when it last looked:"
				: "The agent does not run, or has nothing on you: this is what your own files say.");
	print_method(verdict, "key", verdict->key_can, verdict->key, instance);
	if (verdict->since) {
		(void)printf("    but now your own files say no (unless sshd reads others):\n");
		print_blockers(verdict, verdict->since, instance);
	}
	if (!verdict->fingerprint && verdict->is_known)
		print_method(verdict, "password", verdict->password_can, verdict->password, instance);
	if (*verdict->sshd)
		(void)printf("  sshd: %s\n", output_escape(verdict->sshd, cell));
	if (*verdict->fail2ban)
		(void)printf("  fail2ban: %s\n", output_escape(verdict->fail2ban, cell));
	if (verdict->has_files)
		(void)printf("  in ~/.ssh/authorized_keys: %u keys, %u of them %s\n", verdict->files.keys,
			verdict->files.usable, verdict->fingerprint ? "this one and good" : "good");
}

static void write_method(const struct verdict *verdict, const char *method, bool can, blocker_set set,
	const char *instance, struct json_writer *writer)
{
	const struct blocker_names names = {verdict->user, instance, verdict->from};

	json_begin_object(writer, method);
	json_put_bool(writer, "can", can);
	json_begin_array(writer, "blockers");
	for (unsigned i = 0; i < BLOCKER_COUNT; i++) {
		cleanup_buffer struct buffer guest = {0}, console = {0};
		if (!(set & BLOCKER_BIT(i)))
			continue;
		put_guest_command(verdict, (enum blocker)i, &guest);
		json_begin_object(writer, NULL);
		json_put_string(writer, "code", blocker_code((enum blocker)i));
		json_put_string(writer, "sentence", blocker_sentence((enum blocker)i));
		json_put_string(writer, "here", buffer_status(&guest) == 0 ? guest.bytes : "");
		if (blocker_put_console_command((enum blocker)i, &names, &console) && buffer_status(&console) == 0)
			json_put_string(writer, "console", console.bytes);
		json_end_object(writer);
	}
	json_end_array(writer);
	json_end_object(writer);
}

void verdict_write(const struct verdict *verdict, struct json_writer *writer, const char *key)
{
	cleanup_free char *instance = verdict_instance();

	json_begin_object(writer, key);
	json_put_string(writer, "user", verdict->user);
	json_put_string(writer, "by", verdict->by_engine ? "engine" : verdict->is_known ? "agent" : "files");
	if (verdict->from)
		json_put_string(writer, "from", verdict->from);
	if (verdict->fingerprint)
		json_put_string(writer, "fingerprint", verdict->fingerprint);
	write_method(verdict, "key", verdict->key_can, verdict->key, instance, writer);
	if (!verdict->fingerprint && verdict->is_known)
		write_method(verdict, "password", verdict->password_can, verdict->password, instance, writer);
	if (verdict->since)
		write_method(verdict, "key_now", false, verdict->since, instance, writer);
	if (*verdict->fail2ban)
		json_put_string(writer, "fail2ban", verdict->fail2ban);
	if (*verdict->unsafe_path) {
		json_begin_object(writer, "unsafe");
		json_put_string(writer, "path", verdict->unsafe_path);
		json_put_integer(writer, "mode", verdict->unsafe_mode);
		json_put_integer(writer, "owner", verdict->unsafe_owner);
		json_end_object(writer);
	}
	json_end_object(writer);
}
