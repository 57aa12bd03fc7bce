/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "agent/apply/revert.h"
#include "agent/apply/sweep.h"
#include "lib/base64.h"
#include "lib/box_age.h"
#include "lib/field.h"
#include "lib/file.h"
#include "lib/identity.h"
#include "lib/log.h"
#include "lib/log_event.h"
#include "lib/sealed.h"
#include "lib/sshsig.h"
#include "lib/sys.h"

#define MACHINE_MAX 128u
#define HOST_KEY_MAX 8192u
#define IDENTITY_TEXT_MAX 65536u

/* The one line of a small file, without its newline. */
static int read_line(int directory, const char *name, char *line, size_t size)
{
	cleanup_free char *text = NULL;
	size_t text_size;

	int r = file_read(directory, name, 4096, &text, &text_size);
	if (r < 0)
		return r;
	text[strcspn(text, "\r\n")] = '\0';
	if (strlen(text) >= size)
		return -EFBIG;
	memcpy(line, text, strlen(text) + 1);
	return 0;
}

static int read_line_at(int root, const char *directory_path, const char *name, char *line, size_t size)
{
	cleanup_close int directory = -1;
	int r = file_open_directory(root, directory_path, &directory);
	return r < 0 ? r : read_line(directory, name, line, size);
}

static bool in_container(const struct apply *apply)
{
	struct stat status;
	return sys.fstatat(apply->root, "run/systemd/container", &status, 0) == 0 ||
	       sys.fstatat(apply->root, ".dockerenv", &status, 0) == 0 ||
	       sys.fstatat(apply->root, "run/.containerenv", &status, 0) == 0;
}

/* All zeros, all f, and the placeholders that firmware ships with name no machine. */
static bool is_constant_uuid(const char *uuid)
{
	static const char *const constants[] = {"03000200-0400-0500-0006-000700080009",
		"12345678-1234-5678-90ab-cddeefaabbcc", "fefefefe-fefe-fefe-fefe-fefefefefefe"};
	bool same = true;

	for (const char *at = uuid; *at; at++)
		same = same && (*at == '-' || *at == uuid[0]);
	for (unsigned i = 0; i < ELEMENTS(constants); i++)
		same = same || strcmp(uuid, constants[i]) == 0;
	return same || strlen(uuid) != 36;
}

/* Both names that a machine has; "-" where it has none or it cannot be read now. */
struct machine {
	char uuid[MACHINE_MAX], id[MACHINE_MAX];
};

/* product_uuid in lower case (not in a container, not a constant one), and the machine-id. */
static void read_machine(const struct apply *apply, struct machine *ret_machine)
{
	/* sysfs has its class entries as symbolic links of the kernel's own making */
	cleanup_close int dmi = open("/sys/class/dmi/id", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct machine machine = {"", ""};

	if (apply->is_host && dmi >= 0 && !in_container(apply) &&
		read_line(dmi, "product_uuid", machine.uuid, sizeof(machine.uuid)) == 0) {
		for (char *at = machine.uuid; *at; at++) {
			if (*at >= 'A' && *at <= 'Z')
				*at = (char)(*at - 'A' + 'a');
		}
	}
	if (is_constant_uuid(machine.uuid))
		(void)snprintf(machine.uuid, sizeof(machine.uuid), "-");
	if (read_line_at(apply->root, "etc", "machine-id", machine.id, sizeof(machine.id)) < 0 ||
		!field_is_instance(machine.id))
		(void)snprintf(machine.id, sizeof(machine.id), "-");
	*ret_machine = machine;
}

static bool is_known(const char *name)
{
	return strcmp(name, "-") != 0;
}

/* The stronger name that both have decides; one that cannot be read for once does not make a clone. */
static bool is_other_machine(const struct machine *old, const struct machine *now)
{
	if (is_known(old->uuid) && is_known(now->uuid))
		return strcmp(old->uuid, now->uuid) != 0;
	return is_known(old->id) && is_known(now->id) && strcmp(old->id, now->id) != 0;
}

/* "UUID MACHINE-ID"; a line that is not of this shape names another machine. */
static int read_bound(int directory, struct machine *ret_machine)
{
	char line[2 * MACHINE_MAX];

	int r = read_line(directory, "machine", line, sizeof(line));
	if (r < 0)
		return r;
	char *blank = strchr(line, ' ');
	if (blank)
		*blank = '\0';
	(void)snprintf(ret_machine->uuid, MACHINE_MAX, "%.*s", (int)MACHINE_MAX - 1, blank ? line : "another");
	(void)snprintf(ret_machine->id, MACHINE_MAX, "%.*s", (int)MACHINE_MAX - 1, blank ? blank + 1 : "another");
	return 0;
}

static int write_secret(int directory, const char *name, const struct secret *secret)
{
	return file_replace_simple(directory, name, secret->bytes, secret->size, 0600);
}

static int read_secret(int directory, const char *name, size_t wanted, struct secret *ret_secret)
{
	cleanup_secret struct secret secret = {0};
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = file_open(directory, name, &descriptor, &status);
	if (r < 0)
		return r;
	if (status.st_size != (off_t)wanted || status.st_uid != 0 || (status.st_mode & 077) != 0)
		return -EBADMSG;
	r = secret_allocate(wanted, &secret);
	if (r < 0)
		return r;
	if (sys.read(descriptor, secret.bytes, wanted) != (ssize_t)wanted)
		return -EIO;
	*ret_secret = secret;
	secret = (struct secret){0};
	return 0;
}

/* Another machine's keys and history: a clone starts over, so that neither its commands nor its secrets are ours. */
static int forget_model(const struct apply *apply, const char *machine)
{
	/* What would be applied goes first, and `machine`, which tells a clone, stays: after a crash this is done
	 * again. */
	static const char *const folders[] = {"journal", "results", "history", "identity"};

	log_event(LOG_EVENT_MACHINE_CLONED, LOG_NOTICE, NULL,
		"this disk was cloned from another machine: new identity, nothing of the old one is applied (now %s)",
		machine);
	int inherited = sweep_inherit(apply);
	if (inherited == 0)
		inherited = revert_inherit(apply);
	if (inherited < 0)
		return inherited;
	for (unsigned i = 0; i < ELEMENTS(folders); i++) {
		cleanup_close int directory = -1;
		cleanup_names char **names = NULL;
		size_t count;
		if (file_open_directory(apply->state, folders[i], &directory) < 0)
			continue;
		int r = file_list(directory, ".", 65536, &names, &count);
		if (r < 0)
			return r;
		for (size_t j = 0; j < count; j++) {
			if (strcmp(names[j], "machine") != 0 && sys.unlinkat(directory, names[j], 0) < 0)
				return -errno;
		}
		if (sys.fsync(directory) < 0)
			return -errno;
	}
	return 0;
}

static int make_keys(int directory)
{
	cleanup_secret struct secret sign = {0}, box = {0};
	unsigned char public_key[SEALED_KEY_SIZE];
	struct stat status;
	int r;

	if (sys.fstatat(directory, BOX, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		r = sealed_generate_key(&box, public_key);
		if (r == 0)
			r = write_secret(directory, BOX, &box);
		if (r < 0)
			return r;
	}
	if (sys.fstatat(directory, "sign", &status, AT_SYMLINK_NOFOLLOW) < 0) {
		r = sshsig_generate_key(&sign);
		if (r == 0)
			r = write_secret(directory, "sign", &sign);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_line(int directory, const char *name, const char *line)
{
	cleanup_buffer struct buffer text = {0};
	buffer_append_format(&text, "%s\n", line);
	int r = buffer_status(&text);
	return r < 0 ? r : file_replace_simple(directory, name, text.bytes, text.size, 0600);
}

/* On the host the identity is bound to the machine; with another DIR it is the disk's and never set aside. */
static int bind_machine(struct apply *apply, int directory, const struct machine *machine)
{
	char instance[INSTANCE_SIZE], line[2 * MACHINE_MAX];
	struct machine old = {"-", "-"}, bound = *machine;

	int r = read_bound(directory, &old);
	bool is_bound = r == 0;
	if (is_bound && is_other_machine(&old, machine)) {
		r = forget_model(apply, is_known(machine->uuid) ? machine->uuid : machine->id);
		if (r < 0)
			return r;
		is_bound = false;
	}
	r = make_keys(directory);
	if (r < 0)
		return r;
	/* A name that cannot be read now is not forgotten. */
	if (is_bound && !is_known(bound.uuid))
		(void)snprintf(bound.uuid, sizeof(bound.uuid), "%s", old.uuid);
	if (is_bound && !is_known(bound.id))
		(void)snprintf(bound.id, sizeof(bound.id), "%s", old.id);
	if (!is_bound || strcmp(old.uuid, bound.uuid) != 0 || strcmp(old.id, bound.id) != 0) {
		(void)snprintf(line, sizeof(line), "%s %s", bound.uuid, bound.id);
		r = write_line(directory, "machine", line);
		if (r < 0)
			return r;
	}
	if (read_line(directory, "instance", instance, sizeof(instance)) < 0 || strcmp(instance, apply->instance) != 0)
		return write_line(directory, "instance", apply->instance);
	return 0;
}

int identity_open(struct apply *apply)
{
	const char *configured = config_text(&apply->config, "agent", "instance");
	cleanup_close int directory = -1;
	struct machine machine, old = {"-", "-"};

	int r = apply_state_directory(apply, "identity", &directory);
	if (!apply->is_host) {
		if (r == 0)
			r = read_line(directory, "instance", apply->instance, sizeof(apply->instance));
		if (r < 0)
			log_error("%s holds no identity (%s): was Latchkey ever started there?", apply->root_path,
				strerror(-r));
		return r;
	}
	read_machine(apply, &machine);
	bool automatic = !configured || strcmp(configured, "auto") == 0;
	/* A uuid that cannot be read for once must not change the machine's name. */
	if (r == 0 && !is_known(machine.uuid) && read_bound(directory, &old) == 0 && !is_other_machine(&old, &machine))
		memcpy(machine.uuid, old.uuid, sizeof(machine.uuid));
	const char *name = is_known(machine.uuid) ? machine.uuid : machine.id;
	if (automatic && !is_known(name)) {
		log_error("no product_uuid and no machine-id: set [agent] instance in latchkey.conf");
		return -ENOENT;
	}
	(void)snprintf(apply->instance, sizeof(apply->instance), "%s", automatic ? name : configured);
	if (!field_is_instance(apply->instance)) {
		log_error("'%s' is not a valid instance id", apply->instance);
		return -EINVAL;
	}
	if (r < 0) {
		log_warning("the identity cannot be read or made: %s", strerror(-r));
		return 0; /* a read-only disk still lets a runtime key in */
	}
	r = bind_machine(apply, directory, &machine);
	if (r == -EROFS || r == -ENOSPC || r == -EDQUOT) {
		log_warning("the identity cannot be written: %s", strerror(-r));
		return 0;
	}
	return r;
}

int identity_fingerprint(const struct apply *apply, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE])
{
	cleanup_secret struct secret sign = {0};
	cleanup_buffer struct buffer blob = {0};
	cleanup_close int directory = -1;

	int r = apply_state_directory(apply, "identity", &directory);
	if (r == 0)
		r = read_secret(directory, "sign", SSHSIG_SECRET_SIZE, &sign);
	if (r == 0)
		r = sshsig_public_blob(&sign, &blob);
	if (r == 0)
		r = buffer_status(&blob);
	if (r == 0)
		sshkey_fingerprint((const unsigned char *)blob.bytes, blob.size, ret_fingerprint);
	return r;
}

int identity_sign(const struct apply *apply, const char *name_space, struct buffer *payload)
{
	cleanup_secret struct secret sign = {0};
	cleanup_close int directory = -1;

	int r = buffer_status(payload);
	if (r < 0)
		return r;
	r = apply_state_directory(apply, "identity", &directory);
	if (r == 0)
		r = read_secret(directory, "sign", SSHSIG_SECRET_SIZE, &sign);
	if (r < 0)
		return r;
	/* sshsig_sign appends to the buffer that it reads the payload from: sign a copy's bytes. */
	cleanup_buffer struct buffer armour = {0};
	r = sshsig_sign(&sign, name_space, payload->bytes, payload->size, &armour);
	if (r < 0)
		return r;
	buffer_append(payload, armour.bytes, armour.size);
	return buffer_status(payload);
}

void identity_put_host_keys(const struct apply *apply, struct json_writer *writer)
{
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count = 0;
	unsigned taken = 0;

	json_begin_array(writer, "host_keys");
	if (file_open_directory(apply->root, "etc/ssh", &directory) == 0)
		(void)!file_list(directory, ".", 1024, &names, &count);
	for (size_t i = 0; i < count && taken < IDENTITY_HOST_KEYS_MAX; i++) {
		cleanup_free char *text = NULL;
		cleanup_sshkey struct sshkey key = {0};
		char detail[DETAIL_MAX + 1];
		size_t size, length = strlen(names[i]);
		if (strncmp(names[i], "ssh_host_", 9) != 0 || length < 8 ||
			strcmp(names[i] + length - 8, "_key.pub") != 0 ||
			file_read(directory, names[i], HOST_KEY_MAX, &text, &size) < 0)
			continue;
		/* TYPE BASE64, without the comment, which names the build host */
		char *at = text + strcspn(text, " \n");
		if (*at != ' ')
			continue;
		at += 1 + strcspn(at + 1, " \n");
		*at = '\0';
		/* One that nobody takes any more, as the DSA key that cloud-init makes, would have the whole identity
		 * refused. */
		if (sshkey_parse(text, strlen(text), &key, detail) != CODE_OK)
			continue;
		json_put_string(writer, NULL, text);
		taken++;
	}
	json_end_array(writer);
}

static int build(const struct apply *apply, int directory, int64_t generation, struct buffer *payload)
{
	cleanup_secret struct secret sign = {0}, box = {0};
	cleanup_buffer struct buffer sign_line = {0}, box_text = {0};
	unsigned char public_key[SEALED_KEY_SIZE];
	struct json_writer writer = {payload, false};

	int r = read_secret(directory, "sign", SSHSIG_SECRET_SIZE, &sign);
	if (r == 0)
		r = read_secret(directory, BOX, SEALED_KEY_SIZE, &box);
	if (r == 0)
		r = sshsig_public_line(&sign, &sign_line);
	if (r == 0)
		r = sealed_public_key(&box, public_key);
	if (r < 0)
		return r;
	base64_append(&box_text, public_key, sizeof(public_key));
	r = buffer_status(&box_text);
	if (r < 0)
		return r;
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "instance", apply->instance);
	json_put_integer(&writer, "generation", generation);
	json_put_string(&writer, "sign", sign_line.bytes);
	json_put_string(&writer, "box", box_text.bytes);
	identity_put_host_keys(apply, &writer);
	json_put_string(&writer, "agent", LATCHKEY_VERSION);
	json_end_object(&writer);
	buffer_append(payload, "\n", 1);
	return buffer_status(payload);
}

static int read_generation(int directory, int64_t *ret_generation)
{
	int64_t generation = 0;
	char line[32];

	int r = read_line(directory, "generation", line, sizeof(line));
	if (r < 0)
		return r;
	for (const char *at = line; *at >= '0' && *at <= '9' && generation < JSON_INTEGER_MAX / 10; at++)
		generation = generation * 10 + (*at - '0');
	*ret_generation = generation;
	return 0;
}

/* Where the number is lost, that of the identity which was sent last: a lower one would not be believed. */
static int64_t known_generation(int directory)
{
	cleanup_identity struct identity identity = {0};
	cleanup_free char *text = NULL;
	int64_t generation = 0;
	size_t size;

	if (read_generation(directory, &generation) == 0 && generation > 0)
		return generation;
	if (file_read(directory, "text", IDENTITY_TEXT_MAX, &text, &size) < 0 ||
		identity_read(text, size, &identity) != CODE_OK)
		return 0;
	return identity.generation;
}

int identity_generation(const struct apply *apply, int64_t *ret_generation)
{
	cleanup_close int directory = -1;

	int r = apply_state_directory(apply, "identity", &directory);
	return r < 0 ? r : read_generation(directory, ret_generation);
}

int identity_refresh(const struct apply *apply)
{
	cleanup_close int directory = -1;
	cleanup_buffer struct buffer payload = {0};
	cleanup_free char *old = NULL;
	char line[32];
	size_t old_size = 0;

	int r = apply_state_directory(apply, "identity", &directory);
	if (r < 0)
		return r;
	int64_t generation = known_generation(directory);
	r = build(apply, directory, generation, &payload);
	if (r < 0)
		return r;
	if (generation > 0 && file_read(directory, "text", IDENTITY_TEXT_MAX, &old, &old_size) == 0 &&
		old_size > payload.size && memcmp(old, payload.bytes, payload.size) == 0 &&
		strncmp(old + payload.size, SIGNED_TEXT_BEGIN, strlen(SIGNED_TEXT_BEGIN)) == 0)
		return 0;
	/* The generation is on disk first: a crash between the two only skips a number. */
	generation++;
	(void)snprintf(line, sizeof(line), "%" PRIi64, generation);
	r = write_line(directory, "generation", line);
	if (r < 0)
		return r;
	buffer_free(&payload);
	r = build(apply, directory, generation, &payload);
	if (r == 0)
		r = identity_sign(apply, SSHSIG_IDENTITY, &payload);
	if (r < 0)
		return r;
	return file_replace_simple(directory, "text", payload.bytes, payload.size, 0600);
}

int identity_rotate_box(const struct apply *apply)
{
	cleanup_secret struct secret fresh = {0}, old = {0};
	unsigned char public_key[SEALED_KEY_SIZE];
	cleanup_close int directory = -1;

	int r = apply_state_directory(apply, "identity", &directory);
	if (r == 0)
		r = read_secret(directory, BOX, SEALED_KEY_SIZE, &old);
	if (r == 0)
		r = write_secret(directory, BOX_PREVIOUS, &old);
	if (r == 0)
		r = sealed_generate_key(&fresh, public_key);
	if (r == 0)
		r = write_secret(directory, BOX, &fresh);
	if (r < 0)
		return r;
	return identity_refresh(apply);
}

int identity_age_box(const struct apply *apply)
{
	cleanup_close int directory = -1;
	int64_t now = time(NULL);

	if (!apply->is_host)
		return 0;
	int r = apply_state_directory(apply, "identity", &directory);
	if (r < 0)
		return r;
	if (box_age_due(directory, BOX_PREVIOUS, now) <= now) {
		r = file_remove(directory, BOX_PREVIOUS);
		if (r < 0)
			return r;
	}
	return box_age_due(directory, BOX, now) <= now ? identity_rotate_box(apply) : 0;
}
