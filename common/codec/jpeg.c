#include "common/codec/jpeg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "common/codec/exif.h"

#define SCANS_MAX 200 /* a progressive file of a camera has about 10 */

/*
 * Coefficients of a file in one scan are each decoded once, row by row, and coded in that order. libjpeg
 * would hold them all, in an order of its own; what stands in for its virtual arrays has the rows of one
 * MCU. When libjpeg asks for the next, those that it decoded go into the image, and those that it is to
 * code are made.
 */
struct passing_rows {
	const struct coef_plane *plane; /* borrowed; what it points to is filled in by reading */
	JBLOCKARRAY row;		/* in libjpeg's memory */
	size_t row_bytes;
	int at, n; /* which of the plane's they are */
};

struct passing {
	struct coef_image *im; /* borrowed */
	struct passing_rows rows[PLANES_MAX];
	int n;
};

/* libjpeg reports through these; an error jumps back to the function that set jump. */
struct session {
	struct jpeg_error_mgr err;
	struct jpeg_progress_mgr progress;
	struct passing passing;
	jmp_buf jump;
	int result;
	char reason[REASON_MAX];
};

static struct session *session_of(j_common_ptr cinfo)
{
	return (struct session *)cinfo->err; /* err is the first member */
}

static _Noreturn void fail(j_common_ptr cinfo, int result, const char *reason)
{
	struct session *s = session_of(cinfo);

	s->result = result;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	longjmp(s->jump, 1);
}

static void on_error(j_common_ptr cinfo)
{
	char text[JMSG_LENGTH_MAX];

	cinfo->err->format_message(cinfo, text);
	fail(cinfo, cinfo->err->msg_code == JERR_OUT_OF_MEMORY ? -ENOMEM : -EBADMSG, text);
}

/* Warnings that lose no picture data are let pass; the others mean that the file is damaged. */
static void on_message(j_common_ptr cinfo, int level)
{
	char text[JMSG_LENGTH_MAX];

	if (level >= 0)
		return;
	switch (cinfo->err->msg_code) {
	case JWRN_ADOBE_XFORM:
	case JWRN_EXTRANEOUS_DATA:
	case JWRN_JFIF_MAJOR:
		return;
	}
	cinfo->err->format_message(cinfo, text);
	fail(cinfo, -EBADMSG, text);
}

static void on_output(j_common_ptr cinfo)
{
	(void)cinfo;
}

static void on_progress(j_common_ptr cinfo)
{
	if (((j_decompress_ptr)cinfo)->input_scan_number > SCANS_MAX)
		fail(cinfo, -EBADMSG, "more than 200 scans");
}

static struct jpeg_error_mgr *session_init(struct session *s)
{
	jpeg_std_error(&s->err);
	s->err.error_exit = on_error;
	s->err.emit_message = on_message;
	s->err.output_message = on_output;
	s->progress.progress_monitor = on_progress;
	s->result = 0;
	s->reason[0] = '\0';
	return &s->err;
}

/* Whether the file's planes are Y or Y Cb Cr in a sampling that coef_image holds. */
static bool has_our_layout(const struct jpeg_decompress_struct *c)
{
	int n, h, v;

	if (c->num_components == 1)
		return c->jpeg_color_space == JCS_GRAYSCALE;
	if (c->num_components != 3 || c->jpeg_color_space != JCS_YCbCr)
		return false;
	for (int i = 1; i < 3; i++)
		if (c->comp_info[i].h_samp_factor != 1 || c->comp_info[i].v_samp_factor != 1)
			return false;
	return layout_parse((uint8_t)(c->comp_info[0].h_samp_factor << 4 |
				    c->comp_info[0].v_samp_factor), &n, &h, &v) == 0;
}

static void take_row(const JBLOCK *row, int by, const struct coef_plane *p)
{
	int16_t *out = coef_block(p, 0, by);
	int16_t *dc = p->dc + (size_t)by * (size_t)p->blocks_w;

	for (int bx = 0; bx < p->blocks_w; bx++, out += DCT_SIZE2) {
		coef_reorder(row[bx], JPEG_NATURAL_ORDER, out);
		dc[bx] = out[0];
	}
}

static void take_rows(const struct passing_rows *p)
{
	for (int i = 0; i < p->n && p->at + i < p->plane->blocks_h; i++)
		take_row(p->row[i], p->at + i, p->plane);
}

/* Arrays are requested in the order of components. */
static jvirt_barray_ptr passing_request(
	j_common_ptr c, int pool, boolean zeroed, JDIMENSION width, JDIMENSION height, JDIMENSION n)
{
	struct passing *pass = &session_of(c)->passing;
	struct passing_rows *p;

	(void)zeroed;
	(void)height;
	if (pass->n == pass->im->n_planes)
		fail(c, -EBADMSG, "more components than planes");
	p = &pass->rows[pass->n];
	p->plane = &pass->im->plane[pass->n++];
	p->row = c->mem->alloc_barray(c, pool, width, n);
	p->row_bytes = width * sizeof(JBLOCK);
	p->n = 0;
	return (jvirt_barray_ptr)p;
}

/* libjpeg asks for the rows of each MCU once, and expects zeros. */
static JBLOCKARRAY passing_access(
	j_common_ptr c, jvirt_barray_ptr array, JDIMENSION at, JDIMENSION n, boolean writable)
{
	struct passing_rows *p = (struct passing_rows *)array;

	(void)c;
	(void)writable;
	take_rows(p);
	p->at = (int)at;
	p->n = (int)n;
	for (int i = 0; i < p->n; i++)
		memset(p->row[i], 0, p->row_bytes);
	return p->row;
}

static void read_passing(j_decompress_ptr c, struct coef_image *im)
{
	struct passing *pass = &session_of((j_common_ptr)c)->passing;

	*pass = (struct passing){.im = im};
	c->mem->request_virt_barray = passing_request;
	c->mem->access_virt_barray = passing_access;
	jpeg_read_coefficients(c);
	for (int i = 0; i < pass->n; i++)
		take_rows(&pass->rows[i]);
}

/* Of several scans, each of which may add to any coefficient. */
static void read_whole(j_decompress_ptr c, struct coef_image *im)
{
	jvirt_barray_ptr *arrays = jpeg_read_coefficients(c);

	for (int i = 0; i < im->n_planes; i++)
		for (int by = 0; by < im->plane[i].blocks_h; by++) {
			JBLOCKARRAY row = c->mem->access_virt_barray(
				(j_common_ptr)c, arrays[i], (JDIMENSION)by, 1, FALSE);

			take_row(row[0], by, &im->plane[i]);
		}
}

static void read_coefficients(j_decompress_ptr c, struct coef_image *im)
{
	int r = coef_resize(im, (int)c->image_width, (int)c->image_height, c->num_components,
		c->comp_info[0].h_samp_factor, c->comp_info[0].v_samp_factor);

	if (r < 0)
		fail((j_common_ptr)c, r, "out of memory");
	coef_dc_apart(im);
	if (jpeg_has_multiple_scans(c))
		read_whole(c, im);
	else
		read_passing(c, im);
	for (int i = 0; i < im->n_planes; i++) {
		const JQUANT_TBL *quant = c->comp_info[i].quant_table;

		if (!quant)
			fail((j_common_ptr)c, -EBADMSG, "a component has no quantisation table");
		for (int k = 0; k < DCT_SIZE2; k++)
			im->plane[i].quant[k] = quant->quantval[JPEG_NATURAL_ORDER[k]];
	}
}

/* Adobe's CMYK is stored inverted: 255 is no ink. Both kinds end as light left over. */
static void cmyk_to_rgb(const uint8_t *cmyk, int width, bool inverted, uint8_t *rgb)
{
	for (int x = 0; x < width; x++, cmyk += 4, rgb += 3)
		for (int i = 0; i < 3; i++) {
			int light = inverted ? cmyk[i] : 255 - cmyk[i];
			int black = inverted ? cmyk[3] : 255 - cmyk[3];

			rgb[i] = (uint8_t)(light * black / 255);
		}
}

static void read_pixels(j_decompress_ptr c, struct pixels *px)
{
	bool cmyk = c->num_components == 4;
	JSAMPARRAY row;

	c->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
	jpeg_start_decompress(c);
	if (pixels_init(px, (int)c->output_width, (int)c->output_height) < 0)
		fail((j_common_ptr)c, -ENOMEM, "out of memory");
	row = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE,
		c->output_width * (JDIMENSION)c->output_components, 1);
	for (int y = 0; y < px->height; y++) {
		uint8_t *to = px->rgb + (size_t)y * (size_t)px->width * 3;

		jpeg_read_scanlines(c, row, 1);
		if (cmyk)
			cmyk_to_rgb(row[0], px->width, c->saw_Adobe_marker, to);
		else
			memcpy(to, row[0], (size_t)px->width * 3);
	}
}

static void read_header(j_decompress_ptr c, int64_t max_pixels, struct capture_info *info)
{
	jpeg_save_markers(c, JPEG_APP0 + 1, 0xffff);
	jpeg_read_header(c, TRUE);
	if ((int64_t)c->image_width * c->image_height > max_pixels)
		fail((j_common_ptr)c, -EFBIG, "more pixels than MaxPixels");
	for (jpeg_saved_marker_ptr m = c->marker_list; m; m = m->next)
		if (m->marker == JPEG_APP0 + 1)
			exif_parse(m->data, m->data_length, &info->orientation, &info->taken_s);
}

/* libjpeg's half of jpeg_read: what longjmp may leave half done lives in the arguments. */
static int read_with_libjpeg(j_decompress_ptr c, struct session *s, int64_t max_pixels,
	struct coef_image *im, struct pixels *px, struct capture_info *info)
{
	if (setjmp(s->jump))
		return s->result;
	read_header(c, max_pixels, info);
	if (has_our_layout(c)) {
		read_coefficients(c, im);
		info->quality = coef_quality(im);
	} else if (c->num_components >= 1 && c->num_components <= 4) {
		if (c->quant_tbl_ptrs[0])
			info->quality = tables_estimate_quality(c->quant_tbl_ptrs[0]->quantval);
		read_pixels(c, px);
	} else {
		fail((j_common_ptr)c, -ENOTSUP, "unknown colour space");
	}
	jpeg_finish_decompress(c);
	return 0;
}

int jpeg_read(const uint8_t *data, size_t len, int64_t max_pixels, struct coef_image *ret,
	struct capture_info *info)
{
	struct jpeg_decompress_struct c;
	_cleanup_pixels_ struct pixels px = {0};
	struct session s;
	int r;

	snprintf(info->format, sizeof(info->format), "jpeg");
	info->quality = 100;
	c.err = session_init(&s);
	if (setjmp(s.jump)) {
		snprintf(info->reason, sizeof(info->reason), "%s", s.reason);
		return s.result;
	}
	jpeg_create_decompress(&c);
	c.progress = &s.progress;
	jpeg_mem_src(&c, data, len);
	r = read_with_libjpeg(&c, &s, max_pixels, ret, &px, info);
	jpeg_destroy_decompress(&c);
	if (r < 0)
		snprintf(info->reason, sizeof(info->reason), "%s", s.reason);
	else if (px.rgb)
		r = pixels_to_coef(&px, ret);
	if (r == 0)
		ret->orientation = info->orientation;
	return r;
}

/* A destination that appends to a buf. */
struct buf_destination {
	struct jpeg_destination_mgr pub;
	struct buf *out;
};

#define OUT_STEP 4096

static void out_start(j_compress_ptr c)
{
	struct buf_destination *d = (struct buf_destination *)c->dest;
	uint8_t *to = buf_reserve(d->out, OUT_STEP);

	if (!to)
		fail((j_common_ptr)c, -ENOMEM, "out of memory");
	d->pub.next_output_byte = to;
	d->pub.free_in_buffer = OUT_STEP;
}

static boolean out_empty(j_compress_ptr c)
{
	struct buf_destination *d = (struct buf_destination *)c->dest;

	d->out->len += OUT_STEP;
	out_start(c);
	return TRUE;
}

static void out_finish(j_compress_ptr c)
{
	struct buf_destination *d = (struct buf_destination *)c->dest;

	d->out->len += OUT_STEP - d->pub.free_in_buffer;
}

static void to_jhuff(j_compress_ptr c, JHUFF_TBL **slot, const struct huff_spec *h)
{
	if (!*slot)
		*slot = jpeg_alloc_huff_table((j_common_ptr)c);
	memcpy((*slot)->bits, h->bits, sizeof(h->bits));
	memcpy((*slot)->huffval, h->vals, sizeof(h->vals));
}

/* Counting what is to be coded beforehand takes half as long as libjpeg, which codes twice to know. */
static void set_tables(j_compress_ptr c, const struct jpeg_tables *t, const struct coef_image *im)
{
	struct symbol_counts counts;

	coef_count(im, &counts);
	for (int i = 0; i < MIN(im->n_planes, 2); i++) {
		struct huff_spec dc, ac;

		if (!c->quant_tbl_ptrs[i])
			c->quant_tbl_ptrs[i] = jpeg_alloc_quant_table((j_common_ptr)c);
		for (int k = 0; k < DCT_SIZE2; k++)
			c->quant_tbl_ptrs[i]->quantval[k] = step_written(t->quant[i][k]);
		huffman_optimal(counts.dc[i], ARRAY_SIZE(counts.dc[i]), &dc);
		huffman_optimal(counts.ac[i], ARRAY_SIZE(counts.ac[i]), &ac);
		to_jhuff(c, &c->dc_huff_tbl_ptrs[i], &dc);
		to_jhuff(c, &c->ac_huff_tbl_ptrs[i], &ac);
	}
}

static void set_image(j_compress_ptr c, const struct coef_image *im)
{
	c->image_width = (JDIMENSION)im->width;
	c->image_height = (JDIMENSION)im->height;
	c->input_components = im->n_planes;
	c->in_color_space = im->n_planes == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
	jpeg_set_defaults(c);
	for (int i = 0; i < im->n_planes; i++) {
		c->comp_info[i].h_samp_factor = im->plane[i].h;
		c->comp_info[i].v_samp_factor = im->plane[i].v;
	}
	c->write_JFIF_header = FALSE;
}

/* Writing the same way: libjpeg asks for the rows of each MCU, and they are made when it does. */
static JBLOCKARRAY passing_make(
	j_common_ptr c, jvirt_barray_ptr array, JDIMENSION at, JDIMENSION n, boolean writable)
{
	const struct passing_rows *p = (struct passing_rows *)array;
	int rows = MIN((int)n, p->plane->blocks_h - (int)at);

	(void)c;
	(void)writable;
	for (int i = 0; i < rows; i++) {
		const int16_t *in = coef_block(p->plane, 0, (int)at + i);

		for (int bx = 0; bx < p->plane->blocks_w; bx++, in += DCT_SIZE2)
			coef_reorder(in, JPEG_ZIGZAG_ORDER, p->row[i][bx]);
	}
	return p->row;
}

static void write_coefficients(j_compress_ptr c, const struct coef_image *im)
{
	struct passing *pass = &session_of((j_common_ptr)c)->passing;
	jvirt_barray_ptr arrays[PLANES_MAX];
	uint8_t exif[40];

	for (int i = 0; i < im->n_planes; i++) {
		const struct coef_plane *p = &im->plane[i];

		pass->rows[i].plane = p;
		pass->rows[i].row = c->mem->alloc_barray(
			(j_common_ptr)c, JPOOL_IMAGE, (JDIMENSION)p->blocks_w, (JDIMENSION)p->v);
		arrays[i] = (jvirt_barray_ptr)&pass->rows[i];
	}
	c->mem->access_virt_barray = passing_make;
	jpeg_write_coefficients(c, arrays);
	if (im->orientation == 1)
		return;
	jpeg_write_marker(c, JPEG_APP0 + 1, exif,
		(unsigned)exif_orientation_segment(im->orientation, exif));
}

static int write_with_libjpeg(j_compress_ptr c, struct session *s, const struct coef_image *im,
	const struct jpeg_tables *t)
{
	if (setjmp(s->jump))
		return s->result;
	set_image(c, im);
	set_tables(c, t, im);
	write_coefficients(c, im);
	jpeg_finish_compress(c);
	return 0;
}

int jpeg_write_file(const struct coef_image *im, const struct jpeg_tables *t, struct buf *b)
{
	struct jpeg_compress_struct c;
	struct buf_destination d = {{.init_destination = out_start,
					    .empty_output_buffer = out_empty,
					    .term_destination = out_finish}, b};
	struct session s;
	int r;

	c.err = session_init(&s);
	if (setjmp(s.jump))
		return s.result;
	jpeg_create_compress(&c);
	c.dest = &d.pub;
	r = write_with_libjpeg(&c, &s, im, t);
	jpeg_destroy_compress(&c);
	return r;
}

uint32_t jpeg_file_overhead(int n_planes, int orientation)
{
	uint32_t sets = n_planes == 1 ? 1 : 2, n = (uint32_t)n_planes;
	uint32_t soi_eoi = 4, dqt = sets * 69, frame = 10 + 3 * n, scan_head = 8 + 2 * n;

	return soi_eoi + dqt + frame + scan_head + (orientation > 1 ? 36 : 0);
}
