/* What a worker or trainer that was taken over may send: frames, and the payloads that the daemon
 * reads. */
#include "daemon/proto.h"
#include "tests/fuzz/fuzz.h"

static void check_sketch(const struct sketch *s)
{
	for (int k = 0; k < SKETCH_CELLS; k++)
		CRASH_UNLESS(fabsf(s->cell[k]) <= 1);
}

static void read_payload(uint8_t type, struct reader payload)
{
	static struct pack_lessons lessons;
	struct sensitivity network;
	struct curve_answer curve;
	struct sketched sketched;
	struct train_result result;

	switch (type) {
	case MSG_CURVE:
		if (get_curve(&payload, &curve) == 0) {
			CRASH_UNLESS(curve.width >= 1 && curve.height >= 1);
			CRASH_UNLESS(curve.curve.n >= 1 && curve.curve.n <= RUNGS_MAX);
			for (int k = 1; k < curve.curve.n; k++)
				CRASH_UNLESS(curve.curve.quality[k] > curve.curve.quality[k - 1]);
			check_sketch(&curve.sketched.sketch);
		}
		break;
	case MSG_SKETCH:
		if (get_sketched(&payload, &sketched) == 0)
			check_sketch(&sketched.sketch);
		break;
	case MSG_COUNTED:
		if (get_counts(&payload, &lessons, &network) == 0) {
			struct table_set set = {0};

			lessons_fit(&lessons, &set);
			steps_make_set(&network, STEP_POWER, &set);
			for (int i = 0; i < LADDER_RUNGS; i++)
				CRASH_UNLESS(set.quant[i][0][0] >= 1 &&
					     set.quant[i][1][DCT_SIZE2 - 1] >= 1);
		}
		break;
	case MSG_TRAINED:
		if (get_train_result(&payload, &result) == 0)
			CRASH_UNLESS(isfinite(result.candidate_accuracy));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	while (len) {
		struct reader payload;
		uint8_t type;
		int64_t n = frame_next(data, len, &type, &payload);

		if (n <= 0)
			break;
		CRASH_UNLESS((size_t)n <= len);
		read_payload(type, payload);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}
