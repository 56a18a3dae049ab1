/* The state of an interrupted training, for a network of the least size. */
#include "common/digest.h"
#include "common/net/train.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	enum { IMAGES = 5 };
	static const struct net_shape shape = {.size = 8, .channels = {2, 2, 2}, .classes = 2};
	static uint8_t rgb[IMAGES * 8 * 8 * 3];
	static int label[IMAGES] = {0, 1, 1, 0, 1};
	static float weight[IMAGES] = {1, 1, 1, 1, 1};
	struct dataset d = {
		.n = IMAGES, .size = 8, .classes = 2, .rgb = rgb, .label = label, .weight = weight};
	struct train_options o;
	struct team *team = team_new(1);
	uint8_t *summed = malloc(len + 1);
	struct train *t;

	train_options_init(&o, shape.size);
	o.epochs = 3;
	t = train_new(&shape, &d, &o, team);
	CRASH_UNLESS(team && t && summed);
	memcpy(summed, data, len);
	if (len >= 4) { /* else nothing would come past the checksum */
		uint32_t sum = crc32c(0, data, len - 4);

		for (int i = 0; i < 4; i++)
			summed[len - 4 + (size_t)i] = (uint8_t)(sum >> 8 * i);
	}
	if (train_restore(t, summed, len) == 0) {
		CRASH_UNLESS(
			train_step_count(t) >= 0 && train_step_count(t) <= train_steps_total(t));
		train_steps(t, 2);
	}
	free(summed);
	train_free(t);
	team_free(team);
	return 0;
}
