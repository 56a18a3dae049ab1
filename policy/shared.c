#include "policy/shared.h"

#include <errno.h>
#include <string.h>

#define FORMAT 1

static uint16_t step_of(uint16_t base, uint32_t factor)
{
	uint64_t step = ((uint64_t)base * factor + (1 << 25)) >> 26;

	return (uint16_t)CLAMP(step, UINT64_C(1), (uint64_t)STEP_MAX);
}

void table_set_steps(struct table_set *set)
{
	for (int i = 0; i < LADDER_RUNGS; i++)
		for (int t = 0; t < 2; t++)
			if (!set->made)
				tables_standard_quant(LADDER[i], t, set->quant[i][t]);
			else
				for (int k = 0; k < DCT_SIZE2; k++)
					set->quant[i][t][JPEG_NATURAL_ORDER[k]] =
						step_of(set->base[t][k], set->factor[i]);
}

bool table_set_tables(const struct table_set *set, int quality, struct jpeg_tables *ret)
{
	int i = ladder_nearest(quality);

	if (!set->id || !ladder_has(quality))
		return false;
	tables_standard(quality, ret);
	memcpy(ret->quant, set->quant[i], sizeof(ret->quant));
	return true;
}

const struct table_set *table_set_find(const struct table_set *sets, int n, uint32_t id)
{
	for (int i = 0; i < n; i++)
		if (sets[i].id == id)
			return &sets[i];
	return NULL;
}

void table_set_write(const struct table_set *set, struct buf *b)
{
	buf_put_u8(b, FORMAT);
	buf_put_u8(b, set->made);
	for (int t = 0; set->made && t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			buf_put_u16(b, set->base[t][k]);
	for (int i = 0; set->made && i < LADDER_RUNGS; i++)
		buf_put_u32(b, set->factor[i]);
	pack_model_write(&set->pack, b);
}

int table_set_read(const uint8_t *data, size_t len, struct table_set *ret)
{
	struct reader r = {data, len, false};
	struct table_set set = {0};
	bool known = reader_u8(&r) == FORMAT;
	uint8_t made = reader_u8(&r);

	if (!known || made > 1)
		return -EBADMSG;
	set.made = made;
	for (int t = 0; made && t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			set.base[t][k] = reader_u16(&r);
	for (int i = 0; made && i < LADDER_RUNGS; i++)
		set.factor[i] = reader_u32(&r);
	if (pack_model_read(&r, &set.pack) < 0 || !reader_finished(&r))
		return -EBADMSG;
	table_set_steps(&set);
	*ret = set;
	return 0;
}

bool lessons_want_rungs(struct pack_lessons *l, const struct coef_image *capture)
{
	if (l->captures >= SCALES_AFTER)
		return l->rungs < RUNGS_ENOUGH && l->blocks < BLOCKS_ENOUGH;
	pack_measure(capture, &l->counts);
	if (++l->captures == SCALES_AFTER)
		pack_set_scales(&l->counts, &l->model);
	return false;
}

void lessons_count(struct pack_lessons *l, const struct coef_image *rung)
{
	pack_count(rung, &l->model, &l->counts);
	l->rungs++;
	l->blocks += coef_blocks(rung) / coef_band_apart(rung);
}

void lessons_fit(const struct pack_lessons *l, struct table_set *set)
{
	pack_set_scales(&l->counts, &set->pack);
	pack_fit(&l->counts, &set->pack);
}
