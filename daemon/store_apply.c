/* Batches of operations as transactions, and the files that go with them. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"
#include "daemon/store_tag.h"
#include "policy/member.h"

#define LABELS_MAX 20000

struct op *op_new(enum op_kind kind)
{
	struct op *op = calloc(1, sizeof(*op));

	if (op) {
		op->kind = kind;
		op->row.step = -1;
	}
	return op;
}

void op_free(struct op *op)
{
	if (!op)
		return;
	buf_done(&op->data);
	free(op);
}

void op_free_all(struct op *first)
{
	while (first) {
		struct op *next = first->next;

		op_free(first);
		first = next;
	}
}

int op_count(const struct op *first)
{
	int n = 0;

	for (; first; first = first->next)
		n++;
	return n;
}

struct name_list {
	char (*v)[40]; /* owned */
	size_t n, cap;
};

/* What one batch has to do beside its transaction. */
struct batch {
	struct tally_list *change;
	struct name_list made, garbage; /* files written before, files to unlink after */
	struct name_list aside;		/* files to put into quarantine after */
	int64_t written;
	bool recount;
};

static int remember(struct name_list *l, const char *name)
{
	if (l->n == l->cap) {
		size_t cap = MAX(2 * l->cap, (size_t)16);
		void *v = realloc(l->v, cap * sizeof(l->v[0]));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	snprintf(l->v[l->n++], sizeof(l->v[0]), "%s", name);
	return 0;
}

static void unlink_objects(struct store *s, const struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct stat st;

		if (fstatat(s->objects, l->v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			unlinkat(s->objects, l->v[i], 0) == 0)
			s->object_bytes -= io_disk_bytes(&st);
	}
}

static int get_row(struct store *s, int64_t id, struct image_row *ret)
{
	int rc, r = -ENOENT;

	sqlite3_bind_int64(s->st[ST_ROW], 1, id);
	rc = sqlite3_step(s->st[ST_ROW]);
	if (rc == SQLITE_ROW) {
		row_from(s->st[ST_ROW], ret);
		r = 0;
	} else if (rc != SQLITE_DONE) {
		r = store_fail(s, rc);
	}
	sqlite3_reset(s->st[ST_ROW]);
	return r;
}

static int label_name(struct store *s, uint32_t label, char ret[LABEL_MAX + 1])
{
	sqlite3_stmt *st = s->st[ST_LABEL_NAME];
	int rc;

	ret[0] = '\0';
	if (!label)
		return 0;
	sqlite3_bind_int64(st, 1, label);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 0);

		snprintf(ret, LABEL_MAX + 1, "%s", name ? name : "");
		rc = name ? SQLITE_ROW : SQLITE_NOMEM;
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : store_fail(s, rc);
}

/* Has an object's file say what it is (store_tag.h); what an earlier try of the batch appended goes. */
static int tag_object(struct store *s, struct op *op)
{
	struct image_row row = op->row, old;
	char label[LABEL_MAX + 1];
	int r;

	if (op->picture_bytes)
		op->data.len = op->picture_bytes;
	op->picture_bytes = op->data.len;
	if (op->kind == OP_STEP) { /* knows only what changes */
		r = get_row(s, row.id, &old);
		if (r < 0)
			return r == -ENOENT ? 0 : r; /* the transaction will find it stale */
		row.hash = old.hash;
		row.stratum = old.stratum;
		row.rank = old.rank;
		row.layout = old.layout;
		row.width = old.width;
		row.height = old.height;
		row.orientation = old.orientation;
		row.taken_s = old.taken_s;
		row.flags = (row.flags & ~(uint32_t)IMAGE_PINNED) | (old.flags & IMAGE_PINNED);
		snprintf(row.name, sizeof(row.name), "%s", old.name);
	}
	r = label_name(s, stratum_label(row.stratum), label);
	if (r < 0)
		return r;
	tag_put(&op->data, &row, label);
	return op->data.failed ? -ENOMEM : 0;
}

/* 1 when the content is there already, at *id; else *id is free. Colliding prefixes move on. */
static int find_content(struct store *s, int64_t *id, uint64_t hash)
{
	for (;;) {
		int rc;
		uint64_t there;

		sqlite3_bind_int64(s->st[ST_EXISTS], 1, *id);
		rc = sqlite3_step(s->st[ST_EXISTS]);
		there = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s->st[ST_EXISTS], 0) : 0;
		sqlite3_reset(s->st[ST_EXISTS]);
		if (rc == SQLITE_DONE)
			return 0;
		if (rc != SQLITE_ROW)
			return store_fail(s, rc);
		if (member_same_content(there, hash))
			return 1;
		*id = (*id + 1) & INT64_MAX;
	}
}

static bool lists(const struct name_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i], name))
			return true;
	return false;
}

/*
 * Whether the file is there as another op on the same content wrote it, which told another name or time in
 * its tag: it must not be written over. Negative: who can say.
 */
static int object_made(struct store *s, const char *name, const struct batch *b)
{
	return lists(&b->made, name) ? 1 : store_object_known(s, name);
}

/* Writes the ops' large objects, so that the rows may name them. */
static int write_objects(struct store *s, struct op *ops, bool relief, struct batch *b)
{
	int64_t kept = s->limits.reserve + (relief ? 0 : store_relief_bytes(s->limits.total));

	for (struct op *op = ops; op; op = op->next) {
		char name[40];
		int r;

		if (op->kind == OP_QUARANTINE && (r = quarantine_make_room(s, op->file.size)) < 0)
			return r;
		if ((op->kind != OP_INSERT && op->kind != OP_STEP) || !(op->row.flags & IMAGE_FILE))
			continue;
		if (op->kind == OP_INSERT && (r = find_content(s, &op->row.id, op->row.hash)) < 0)
			return r;
		object_name(op->row.id, op->row.quality, name);
		r = object_made(s, name, b);
		if (r > 0)
			continue;
		if (r == 0)
			r = tag_object(s, op);
		if (r < 0)
			return r;
		r = store_fit_files(s, (int64_t)op->data.len + kept);
		if (r == -ENOSPC && relief && store_fit_files(s, 0) == -ENOSPC)
			r = 0; /* beyond a limit that was lowered: else nothing could be degraded */
		if (r < 0)
			return r;
		r = io_write_durable(s->objects, name, op->data.data, op->data.len);
		if (r < 0) {
			snprintf(s->error, sizeof(s->error), "objects/%s: %s", name, strerror(-r));
			return r == -EDQUOT ? -ENOSPC : r;
		}
		s->object_bytes += store_file_bytes(s->objects, name);
		r = remember(&b->made, name);
		if (r < 0)
			return r;
	}
	return 0;
}

static void bind_data(sqlite3_stmt *st, int at, const struct op *op)
{
	if (op->row.flags & IMAGE_FILE)
		sqlite3_bind_null(st, at);
	else
		sqlite3_bind_blob(st, at, op->data.data ? op->data.data : (const void *)"",
			(int)op->data.len, SQLITE_STATIC);
}

/*
 * 1 and the op's row as it is now; 0 and op->result -ESTALE when it has gone, or has another quality
 * than the op was made for (was_quality 0: any will do).
 */
static int current_row(struct store *s, struct op *op, struct image_row *ret)
{
	int r = get_row(s, op->row.id, ret);

	if (r == -ENOENT || (r == 0 && op->was_quality && ret->quality != op->was_quality)) {
		op->result = -ESTALE;
		return 0;
	}
	return r < 0 ? r : 1;
}

static int mark_garbage(struct store *s, struct batch *b, const struct image_row *row)
{
	char name[40];

	if (!(row->flags & IMAGE_FILE))
		return 0;
	object_name(row->id, row->quality, name);
	if (sqlite3_bind_text(s->st[ST_GARBAGE], 1, name, -1, SQLITE_TRANSIENT) != SQLITE_OK)
		return -ENOMEM;
	if (remember(&b->garbage, name) < 0)
		return -ENOMEM;
	return store_run(s, ST_GARBAGE);
}

/*
 * -E2BIG when the op's file has a name that an op before it in the batch has given up, whose file goes: in
 * a batch after this one the name is free.
 */
static int keeps_file(const struct op *op, const struct batch *b)
{
	char name[40];

	if (!(op->row.flags & IMAGE_FILE))
		return 0;
	object_name(op->row.id, op->row.quality, name);
	return lists(&b->garbage, name) || lists(&b->aside, name) ? -E2BIG : 0;
}

static void count(struct batch *b, const struct image_row *row, int sign)
{
	bool pinned = row->flags & IMAGE_PINNED;

	tally_add(b->change, &(struct tally){row->stratum, row->quality, sign, sign * (int64_t)row->bytes,
				     pinned ? sign : 0});
}

/* A capture has come with a stratum's label, or (sign -1) has another now. */
static void count_came(struct batch *b, uint32_t stratum, int sign)
{
	tally_add(b->change,
		&(struct tally){.stratum = stratum_of(stratum_label(stratum), false), .came = sign});
}

static int add_counter(struct store *s, int64_t which, int64_t amount)
{
	sqlite3_bind_int64(s->st[ST_COUNT], 1, which);
	sqlite3_bind_int64(s->st[ST_COUNT], 2, amount);
	return store_run(s, ST_COUNT);
}

static int add_taken(struct store *s, struct op *op)
{
	sqlite3_stmt *st = s->st[ST_TAKEN];
	int r;

	if (!op->file.path[0])
		return 0;
	sqlite3_bind_blob(st, 1, op->file.path, (int)strlen(op->file.path), SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (int64_t)op->file.dev);
	sqlite3_bind_int64(st, 3, (int64_t)op->file.ino);
	sqlite3_bind_int64(st, 4, op->file.size);
	sqlite3_bind_int64(st, 5, op->file.mtime_ns);
	sqlite3_bind_int64(st, 6, op->row.id);
	if (op->kind == OP_QUARANTINE)
		sqlite3_bind_text(st, 7, op->text, -1, SQLITE_STATIC);
	r = store_run(s, ST_TAKEN);
	if (r == 0)
		op->taken_id = sqlite3_last_insert_rowid(s->db);
	return r;
}

/* Whether a step that was worked out a while ago still leads anywhere from where the image is now. */
static bool leads_on(const struct image_row *row, uint8_t step_to)
{
	return step_to < row->quality || (step_to == row->quality && (row->flags & IMAGE_LOOSE));
}

/*
 * Another stratum. Validation images are not degraded: what becomes one takes no step to a lower quality
 * (where steps are whose turn it is to go they lead to none, and stay); what is none any more takes the step
 * that `to` has.
 */
static int set_label(struct store *s, struct image_row *row, const struct image_row *to, struct batch *b)
{
	bool validation = stratum_is_validation(to->stratum), was = stratum_is_validation(row->stratum);
	const struct image_row old = *row;
	int r;

	if (validation && !was && row->step_to) {
		row->step = -1;
	} else if (!validation && (row->step < 0 || (was && row->step_to)) && !(row->flags & IMAGE_PINNED)) {
		bool leads = leads_on(row, to->step_to);

		row->step = leads ? to->step : -1;
		row->step_to = leads ? to->step_to : row->step_to;
	}
	count(b, row, -1);
	count_came(b, row->stratum, -1);
	row->stratum = to->stratum;
	count(b, row, 1);
	count_came(b, row->stratum, 1);
	sqlite3_bind_int64(s->st[ST_LABEL], 1, row->id);
	sqlite3_bind_int64(s->st[ST_LABEL], 2, row->stratum);
	row_bind_step(s->st[ST_LABEL], 3, row->step);
	sqlite3_bind_int(s->st[ST_LABEL], 4, row->step_to);
	row_bind_crc(s->st[ST_LABEL], 5, row, &old);
	r = store_run(s, ST_LABEL);
	return r < 0 ? r : add_counter(s, COUNT_LABELLED, 1);
}

/* The label that a duplicate brings, to the image that is there and has none. */
static int give_label(struct store *s, int64_t id, uint32_t stratum, struct batch *b)
{
	struct image_row row;
	int r = stratum > 1 ? get_row(s, id, &row) : -ENOENT;

	if (r < 0 || row.stratum > 1)
		return r == -ENOENT ? 0 : r;
	return set_label(s, &row, &(struct image_row){.stratum = stratum, .step = -1}, b);
}

static int apply_insert(struct store *s, struct op *op, struct batch *b)
{
	const struct image_row *row = &op->row;
	int64_t id = row->id;
	int r = find_content(s, &id, row->hash);

	if (r < 0)
		return r;
	if (r == 0 && id != row->id && (row->flags & IMAGE_FILE))
		return -E2BIG; /* its file has the other's name: by itself it gets one of its own */
	op->row.id = id;
	if (r > 0) {
		op->result = -EEXIST;
		r = give_label(s, id, row->stratum, b);
		if (r == 0)
			r = add_counter(s, COUNT_DUPLICATE, 1);
		return r < 0 ? r : add_taken(s, op);
	}
	r = keeps_file(op, b);
	if (r < 0)
		return r;
	op->row.crc = crc32c(0, op->data.data, op->data.len);
	op->row.bytes = (uint32_t)op->data.len;
	r = row_insert(s, row, op->data.data);
	if (r < 0)
		return r;
	count(b, row, 1);
	count_came(b, row->stratum, 1);
	b->written += row->bytes;
	if (row->stratum > 1 && (r = add_counter(s, COUNT_LABELLED, 1)) < 0)
		return r;
	return add_taken(s, op);
}

/* Whether a step is not for it any more: it is pinned, or for validation since that was worked out. */
static bool stays(const struct image_row *row, const struct image_row *then)
{
	return (row->flags & IMAGE_PINNED) ||
	       (stratum_is_validation(row->stratum) && !stratum_is_validation(then->stratum));
}

/* What an op on a row does not change is as it is. */
static void take_rest(struct image_row *row, const struct image_row *old)
{
	row->hash = old->hash;
	row->stratum = old->stratum; /* a label may have come in between */
	row->rank = old->rank;
	row->layout = old->layout;
	row->width = old->width;
	row->height = old->height;
	row->orientation = old->orientation;
	row->taken_s = old->taken_s;
	memcpy(row->name, old->name, sizeof(row->name));
}

static int apply_step(struct store *s, struct op *op, struct batch *b)
{
	sqlite3_stmt *st = s->st[ST_STEP];
	struct image_row *row = &op->row, old;
	int r = current_row(s, op, &old);

	/* Scored again since: what the step knows is out of date. Or it is to stay as it is. */
	if (r == 1 && (old.model != row->model || stays(&old, row))) {
		op->result = -ESTALE;
		return 0;
	}
	if (r == 1 && keeps_file(op, b) < 0)
		return -E2BIG;
	if (r <= 0)
		return r;
	take_rest(row, &old);
	row->flags &= ~(uint32_t)(IMAGE_PINNED | IMAGE_ORIGINAL);
	row->crc = crc32c(0, op->data.data, op->data.len);
	row->bytes = (uint32_t)op->data.len;
	sqlite3_bind_int64(st, 1, row->id);
	row_bind_step(st, 2, row->step);
	sqlite3_bind_int(st, 3, row->step_to);
	sqlite3_bind_int(st, 4, row->quality);
	sqlite3_bind_int64(st, 5, row->tables);
	sqlite3_bind_int64(st, 6, row->flags);
	sqlite3_bind_int64(st, 7, row->bytes);
	row_bind_crc(st, 8, row, &old);
	sqlite3_bind_int64(st, 9, row->model);
	sqlite3_bind_blob(st, 10, row->harm, row->n_harm, SQLITE_STATIC);
	bind_data(st, 11, op);
	r = store_run(s, ST_STEP);
	if (r < 0)
		return r;
	count(b, &old, -1);
	count(b, row, 1);
	b->written += row->bytes;
	return mark_garbage(s, b, &old);
}

static int apply_rescore(struct store *s, struct op *op)
{
	sqlite3_stmt *st = s->st[ST_RESCORE];
	struct image_row old, now;
	int r = current_row(s, op, &old);

	if (r == 1 && (op->row.flags & ~old.flags & IMAGE_LOOSE)) { /* packed since */
		op->result = -ESTALE;
		return 0;
	}
	if (r <= 0)
		return r;
	now = old;
	now.step = (old.flags & IMAGE_PINNED) || (op->row.step_to && stays(&old, &op->row)) ? -1 : op->row.step;
	now.step_to = op->row.step_to;
	now.flags |= op->row.flags & IMAGE_SCORED;
	now.flags &= op->row.flags | ~(uint32_t)IMAGE_LOOSE; /* what cannot be packed is not asked again */
	now.model = op->row.model;
	now.n_harm = op->row.n_harm;
	memcpy(now.harm, op->row.harm, sizeof(now.harm));
	sqlite3_bind_int64(st, 1, now.id);
	row_bind_step(st, 2, now.step);
	sqlite3_bind_int(st, 3, now.step_to);
	sqlite3_bind_int64(st, 4, now.flags);
	sqlite3_bind_int64(st, 5, now.model);
	sqlite3_bind_blob(st, 6, op->row.harm, now.n_harm, SQLITE_STATIC);
	row_bind_crc(st, 7, &now, &old);
	return store_run(s, ST_RESCORE);
}

static int apply_spent(struct store *s, struct op *op)
{
	struct image_row old, now;
	int r = current_row(s, op, &old);

	if (r <= 0)
		return r;
	now = old;
	now.rank = member_rank_spent(old.rank, op->amount);
	sqlite3_bind_int64(s->st[ST_SPENT], 1, now.id);
	sqlite3_bind_int(s->st[ST_SPENT], 2, now.rank);
	row_bind_crc(s->st[ST_SPENT], 3, &now, &old);
	return store_run(s, ST_SPENT);
}

/* Dropped, or set aside: then its file goes to quarantine, unless it can be mended. */
static int apply_removal(struct store *s, struct op *op, struct batch *b)
{
	bool aside = op->kind == OP_SET_ASIDE;
	struct image_row old;
	char name[40];
	int r = current_row(s, op, &old);

	if (r == 1 && !aside && (old.flags & ~op->row.flags & IMAGE_PINNED)) { /* pinned since */
		op->result = -ESTALE;
		return 0;
	}
	if (r == 1 && aside) {
		bool doubtful;

		r = store_mend_image(s, &old, &doubtful);
		op->mended = r == 1;
		op->doubtful = r == 1 && doubtful;
		r = r < 0 ? r : !r;
	}
	if (r <= 0)
		return r;
	sqlite3_bind_int64(s->st[ST_REMOVE], 1, op->row.id);
	r = store_run(s, ST_REMOVE);
	if (r < 0)
		return r;
	count(b, &old, -1);
	op->row = old;
	object_name(old.id, old.quality, name);
	if (!aside)
		r = mark_garbage(s, b, &old);
	else if (old.flags & IMAGE_FILE)
		r = remember(&b->aside, name);
	return r < 0 ? r : add_counter(s, aside ? COUNT_QUARANTINED : COUNT_DROPPED, 1);
}

static int apply_label(struct store *s, struct op *op, struct batch *b)
{
	struct image_row row;
	int r = current_row(s, op, &row);

	return r <= 0 ? r : set_label(s, &row, &op->row, b);
}

static int apply_pin(struct store *s, struct op *op, struct batch *b)
{
	struct image_row row, old;
	int r = current_row(s, op, &row);
	bool lowest;

	if (r <= 0 || !((row.flags ^ op->row.flags) & IMAGE_PINNED)) /* or it is already */
		return r < 0 ? r : 0;
	old = row;
	count(b, &row, -1);
	row.flags = (row.flags & ~(uint32_t)IMAGE_PINNED) | (op->row.flags & IMAGE_PINNED);
	count(b, &row, 1);
	sqlite3_bind_int64(s->st[ST_PIN], 1, row.id);
	sqlite3_bind_int64(s->st[ST_PIN], 2, row.flags);
	lowest = (row.flags & IMAGE_PINNED) || !leads_on(&row, op->row.step_to); /* stepped meanwhile */
	row.step = lowest ? -1 : op->row.step;
	row.step_to = op->row.step_to;
	row_bind_step(s->st[ST_PIN], 3, row.step);
	sqlite3_bind_int(s->st[ST_PIN], 4, row.step_to);
	row_bind_crc(s->st[ST_PIN], 5, &row, &old);
	return store_run(s, ST_PIN);
}

static int apply_tables(struct store *s, struct op *op)
{
	int r;

	sqlite3_bind_blob(s->st[ST_TABLES], 1, op->data.data, (int)op->data.len, SQLITE_STATIC);
	sqlite3_bind_int64(s->st[ST_TABLES], 2, crc32c(0, op->data.data, op->data.len));
	r = store_run(s, ST_TABLES);
	op->row.tables = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

static int apply_meta(struct store *s, const struct op *op)
{
	sqlite3_bind_text(s->st[ST_META], 1, op->key, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s->st[ST_META], 2, op->data.data, (int)op->data.len, SQLITE_STATIC);
	return store_run(s, ST_META);
}

bool store_find_label(struct store *s, const char *name, uint32_t *ret)
{
	sqlite3_stmt *st = s->st[ST_LABEL_FIND];
	int rc;

	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return rc == SQLITE_ROW;
}

int store_add_label(struct store *s, const char *name, uint32_t *ret)
{
	int r;

	sqlite3_bind_text(s->st[ST_LABEL_ADD], 1, name, -1, SQLITE_STATIC);
	r = store_run(s, ST_LABEL_ADD);
	*ret = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

static int apply_new_label(struct store *s, struct op *op)
{
	int64_t labels;

	if (store_find_label(s, op->text, &op->row.stratum))
		return 0;
	labels = store_pragma(s, "SELECT count(*) FROM labels");
	if (labels < 0)
		return store_fail(s, sqlite3_errcode(s->db));
	if (labels >= LABELS_MAX) {
		op->result = -E2BIG;
		return 0;
	}
	return store_add_label(s, op->text, &op->row.stratum);
}

static int apply_fate(struct store *s, struct op *op, enum counter which, struct batch *b)
{
	int r = which == COUNT_DUPLICATE ? give_label(s, op->row.id, op->row.stratum, b) : 0;

	if (which == COUNT_DROPPED)
		count_came(b, op->row.stratum, 1);
	if (r == 0)
		r = add_counter(s, which, 1);
	return r < 0 ? r : add_taken(s, op);
}

static int apply_one(struct store *s, struct op *op, struct batch *b)
{
	op->result = 0;
	switch (op->kind) {
	case OP_INSERT:
		return apply_insert(s, op, b);
	case OP_STEP:
		return apply_step(s, op, b);
	case OP_RESCORE:
		return apply_rescore(s, op);
	case OP_SPENT:
		return apply_spent(s, op);
	case OP_REMOVE:
	case OP_SET_ASIDE:
		return apply_removal(s, op, b);
	case OP_COUNT:
		return apply_fate(s, op, op->counter, b);
	case OP_QUARANTINE:
		return apply_fate(s, op, COUNT_QUARANTINED, b);
	case OP_SETTLED:
		if (op->unsettled)
			return 0;
		sqlite3_bind_int64(s->st[ST_SETTLED], 1, op->taken_id);
		return store_run(s, ST_SETTLED);
	case OP_RECOUNT:
		b->recount = true; /* when all others of the batch have been */
		return 0;
	case OP_FADE: /* what else the batch brings is added to it */
		sqlite3_bind_int64(s->st[ST_FADE], 1, COUNT_CAME);
		return store_run(s, ST_FADE);
	case OP_LABEL:
		return apply_label(s, op, b);
	case OP_PIN:
		return apply_pin(s, op, b);
	case OP_META:
		return apply_meta(s, op);
	case OP_TABLES:
		return apply_tables(s, op);
	case OP_ADD:
		return add_counter(s, op->counter, op->amount);
	case OP_NEW_LABEL:
		return apply_new_label(s, op);
	}
	assert(!"unknown op");
	return -EINVAL;
}

/* The totals' changes, once per stratum and quality instead of once per image. */
static int write_tallies(struct store *s, const struct batch *b)
{
	if (b->change->failed)
		return -ENOMEM;
	for (size_t i = 0; i < b->change->n; i++) {
		const struct tally *t = &b->change->v[i];
		int r = 0;

		if (t->came && (r = add_counter(s, COUNT_CAME + stratum_label(t->stratum), t->came)) < 0)
			return r;
		if (!t->images && !t->bytes && !t->pinned)
			continue;
		sqlite3_bind_int64(s->st[ST_TALLY], 1, t->stratum);
		sqlite3_bind_int(s->st[ST_TALLY], 2, t->quality);
		sqlite3_bind_int64(s->st[ST_TALLY], 3, t->images);
		sqlite3_bind_int64(s->st[ST_TALLY], 4, t->bytes);
		sqlite3_bind_int64(s->st[ST_TALLY], 5, t->pinned);
		r = store_run(s, ST_TALLY);
		if (r < 0)
			return r;
		sqlite3_bind_int64(s->st[ST_TALLY_CLEAN], 1, t->stratum);
		sqlite3_bind_int(s->st[ST_TALLY_CLEAN], 2, t->quality);
		r = store_run(s, ST_TALLY_CLEAN);
		if (r < 0)
			return r;
	}
	if (b->recount) {
		int r = store_run(s, ST_TALLY_NONE);

		if (r == 0)
			r = store_run(s, ST_TALLY_ALL);
		if (r < 0)
			return r;
	}
	return b->written ? add_counter(s, COUNT_WRITTEN, b->written) : 0;
}

static int transaction(struct store *s, struct op *ops, struct batch *b)
{
	int r = store_begin(s);

	if (r == 0 && s->garbage_rows)
		r = store_run(s, ST_GARBAGE_GONE);
	for (struct op *op = ops; r == 0 && op; op = op->next)
		r = apply_one(s, op, b);
	if (r == 0)
		r = write_tallies(s, b);
	return store_end(s, r);
}

/*
 * An insert that turned out to be a duplicate may have written its object's file under a name that
 * is the stored image's own or nobody's. The latter goes.
 */
static void drop_unused(struct store *s, struct op *ops)
{
	for (struct op *op = ops; op; op = op->next) {
		struct name_list one = {0};
		char name[40];

		if ((op->kind != OP_INSERT && op->kind != OP_STEP) || !op->result ||
			!(op->row.flags & IMAGE_FILE))
			continue;
		object_name(op->row.id, op->row.quality, name);
		if (store_object_known(s, name) == 0 && remember(&one, name) == 0)
			unlink_objects(s, &one);
		free(one.v);
	}
}

static void clear_change(struct tally_list *l)
{
	l->n = 0;
}

int store_apply(struct store *s, struct op *ops, bool relief, struct tally_list *ret_change)
{
	struct batch b = {.change = ret_change};
	int r = store_roll_back(s); /* first: rows that are none may not say that their files are there */

	if (r == 0)
		r = store_cap_index(s, relief);
	if (r == 0)
		r = write_objects(s, ops, relief, &b);
	for (int attempt = 0; r == 0 && attempt < 2; attempt++) {
		clear_change(ret_change);
		b.garbage.n = b.aside.n = 0;
		b.written = 0;
		b.recount = false;
		s->wal.refused = false;
		r = transaction(s, ops, &b);
		if (r != -ENOSPC || !s->wal.refused)
			break;
		r = attempt == 0 ? store_checkpoint(s) : -E2BIG; /* empty the log, then try once more */
	}
	if (r < 0) {
		clear_change(ret_change);
		unlink_objects(s, &b.made);
	} else {
		unlink_objects(s, &b.garbage);
		for (size_t i = 0; i < b.aside.n; i++)
			quarantine_damaged(s, s->objects, &s->object_bytes, b.aside.v[i]);
		s->garbage_rows = b.garbage.n > 0;
		drop_unused(s, ops);
		for (struct op *op = ops; op; op = op->next)
			if (op->kind == OP_TABLES)
				store_keep_sets(s);
		if (store_file_bytes(s->dir, "index.db-wal") > s->wal.cap / 2)
			store_checkpoint(s); /* a busy reader only makes it happen later */
	}
	free(b.made.v);
	free(b.garbage.v);
	free(b.aside.v);
	return r;
}
