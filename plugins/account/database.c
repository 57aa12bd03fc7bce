/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/database.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/account_index.h"
#include "lib/attributes.h"
#include "lib/file.h"
#include "lib/sys.h"
#include "plugins/account/identifiers.h"

static const struct {
	const char *name, *backup;
	bool required;
} names[DATABASE_FILES] = {
	[DATABASE_GROUP] = {"group", "group-", true},
	[DATABASE_GSHADOW] = {"gshadow", "gshadow-", false},
	[DATABASE_SUBUID] = {"subuid", "subuid-", false},
	[DATABASE_SUBGID] = {"subgid", "subgid-", false},
	[DATABASE_SHADOW] = {"shadow", "shadow-", true},
	[DATABASE_PASSWD] = {"passwd", "passwd-", true},
};

static int read_file(struct database *database, enum database_file file, bool to_edit)
{
	struct account_table table = {0};

	int r = account_table_read_in(database->etc, names[file].name, to_edit, &table);
	if (r == -ENOENT && !names[file].required)
		return 0;
	if (r == -ENOENT || r == -ELOOP || r == -EINVAL)
		return -EOPNOTSUPP;
	if (r < 0)
		return r;
	table_edit_begin(&database->files[file], &table);
	database->present[file] = true;
	return 0;
}

int database_read(int root, unsigned files, bool to_edit, struct database *ret_database, const char **ret_file)
{
	cleanup_database struct database database = {.etc = -1};

	*ret_file = "etc";
	int r = file_open_directory(root, "etc", &database.etc);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < DATABASE_FILES; i++) {
		*ret_file = names[i].name;
		r = files & DATABASE_BIT(i) ? read_file(&database, (enum database_file)i, to_edit) : 0;
		if (r < 0)
			return r;
	}
	*ret_database = database;
	database = (struct database){.etc = -1};
	return 0;
}

int database_index(struct database *database)
{
	for (unsigned i = 0; i < DATABASE_FILES; i++) {
		int r = database->present[i] ? account_index_build(&database->files[i].table) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

void database_free(struct database *database)
{
	identifiers_forget(database);
	for (unsigned i = 0; i < DATABASE_FILES; i++)
		table_edit_free(&database->files[i]);
	if (database->etc >= 0)
		(void)close(database->etc);
	*database = (struct database){.etc = -1};
}

unsigned database_edits(const struct database *database)
{
	unsigned edits = 0;

	for (unsigned i = 0; i < DATABASE_FILES; i++)
		edits += database->files[i].edits;
	return edits;
}

static bool is_replaced(const struct database *database, enum database_file file, int old)
{
	struct stat before, now;

	return sys.fstat(old, &before) < 0 ||
	       sys.fstatat(database->etc, names[file].name, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
	       before.st_ino != now.st_ino;
}

static int write_file(struct database *database, enum database_file file, bool *touched)
{
	const struct table_edit *edit = &database->files[file];
	const struct account_table *table = &edit->table;
	cleanup_close int current = -1;
	struct label label;
	struct stat status;

	if (!database->files[file].changed)
		return 0;
	int r = file_open(database->etc, names[file].name, &current, &status);
	if (r < 0)
		return r;
	/* An editor, or a tool that does not know the lock, has written it since. */
	if (!account_table_is_of(table, &status))
		return -EBUSY;
	const struct file_attributes like = {.uid = (uid_t)-1, .gid = (gid_t)-1, .like = current};
	/* What everybody may read is mounted in containers, too: there it must not become a backup of root's alone. */
	r = (status.st_mode & S_IROTH) != 0 ? -EOPNOTSUPP
					    : file_replace_keeping(database->etc, names[file].name, names[file].backup,
						      table->bytes, table->size, &like);
	if (r == -EOPNOTSUPP) {
		label_read(current, &label);
		const struct file_attributes backup = {.mode = 0600, .uid = 0, .gid = 0, .like = -1, .label = &label};
		r = file_replace(database->etc, names[file].backup, edit->old.bytes, edit->old.size, &backup);
		if (r < 0)
			return r;
		r = file_replace(database->etc, names[file].name, table->bytes, table->size, &like);
	}
	*touched = *touched || r == 0 || is_replaced(database, file, current);
	if (r < 0)
		return r;
	database->files[file].changed = false;
	return 0;
}

/* chattr +i on one of several files is common hardening: known before the first is written, nothing is half done. */
static int check_immutable(const struct database *database, const char **ret_file)
{
	for (unsigned i = 0; i < DATABASE_FILES; i++) {
		cleanup_close int descriptor = -1;
		int flags = 0;

		if (!database->files[i].changed)
			continue;
		*ret_file = names[i].name;
		int r = file_open(database->etc, names[i].name, &descriptor, NULL);
		if (r < 0)
			return r;
		/* A file system without such flags has none set. */
		if (ioctl(descriptor, FS_IOC_GETFLAGS, &flags) == 0 && (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0)
			return -EPERM;
	}
	return 0;
}

/* Puts the bytes back that stood before this pass. */
static int restore_file(const struct database *database, enum database_file file)
{
	const struct table_edit *edit = &database->files[file];
	cleanup_close int current = -1;

	int r = file_open(database->etc, names[file].name, &current, NULL);
	if (r < 0)
		return r;
	const struct file_attributes like = {.uid = (uid_t)-1, .gid = (gid_t)-1, .like = current};
	return file_replace(database->etc, names[file].name, edit->old.bytes, edit->old.size, &like);
}

/* A failure half-way takes back what was written, in reverse; what cannot be taken back the next run finishes. */
static void roll_back(const struct database *database, const bool *written, bool removing, bool *touched)
{
	bool all = true;

	for (unsigned i = DATABASE_FILES; i-- > 0;) {
		enum database_file file = (enum database_file)(removing ? DATABASE_FILES - 1 - i : i);
		if (written[file] && restore_file(database, file) < 0)
			all = false;
	}
	*touched = !all;
}

int database_write(struct database *database, bool removing, const char **ret_file, bool *ret_touched)
{
	bool written[DATABASE_FILES] = {false};

	*ret_touched = false;
	int r = check_immutable(database, ret_file);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < DATABASE_FILES; i++) {
		enum database_file file = (enum database_file)(removing ? DATABASE_FILES - 1 - i : i);

		*ret_file = names[file].name;
		r = write_file(database, file, &written[file]);
		*ret_touched = *ret_touched || written[file];
		if (r < 0) {
			roll_back(database, written, removing, ret_touched);
			return r;
		}
	}
	return 0;
}

static int compare_line(const struct database *database, enum database_file file, const char *user)
{
	const struct account_table *table = &database->files[file].table;
	cleanup_close int descriptor = -1;
	struct account_line line;
	struct stat status;

	/* None, or several of which none was edited. */
	if (account_find_line(table, user, &line) < 0)
		return 0;
	int r = file_open(database->etc, names[file].name, &descriptor, &status);
	if (r < 0)
		return r;
	if ((size_t)status.st_size != table->size || lseek(descriptor, line.start - table->bytes, SEEK_SET) < 0)
		return -EIO;
	for (size_t done = 0; done < line.size;) {
		char part[1024];
		size_t wanted = line.size - done < sizeof(part) ? line.size - done : sizeof(part);
		ssize_t size = sys.read(descriptor, part, wanted);
		bool same = size > 0 && memcmp(part, line.start + done, (size_t)size) == 0;
		explicit_bzero(part, sizeof(part));
		if (size < 0 && errno == EINTR)
			continue;
		if (!same)
			return -EIO;
		done += (size_t)size;
	}
	return 0;
}

int database_read_back(const struct database *database, const char *user)
{
	int r = compare_line(database, DATABASE_SHADOW, user);
	return r < 0 ? r : compare_line(database, DATABASE_PASSWD, user);
}
