#include "tools/ctl/csv.h"

#include <string.h>

void csv_put(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', f);
		fputc(*s, f);
	}
	fputc('"', f);
}

/* Reads one field in place; returns what ended it: ',', '\n' or '\0'. */
static char take_field(char **at, char **ret)
{
	char *from = *at, *to = from, end;
	bool quoted = *from == '"';

	*ret = to;
	if (quoted)
		from++;
	while (*from && (quoted || (*from != ',' && *from != '\n'))) {
		if (quoted && *from == '"') {
			from++;
			if (*from != '"') {
				quoted = false;
				continue;
			}
		}
		*to++ = *from++;
	}
	end = *from;
	*at = end ? from + 1 : from;
	if (end != ',' && to > *ret && to[-1] == '\r')
		to--;
	*to = '\0';
	return end;
}

bool csv_next(char **at, struct csv_row *ret)
{
	char end, *field;

	while (**at == '\n' || (**at == '\r' && (*at)[1] == '\n'))
		(*at)++;
	if (!**at)
		return false;
	ret->n = 0;
	do {
		end = take_field(at, &field);
		if (ret->n < CSV_COLUMNS)
			ret->field[ret->n++] = field;
	} while (end == ',');
	return true;
}

int csv_column(const struct csv_row *r, const char *name)
{
	for (int i = 0; i < r->n; i++)
		if (!strcmp(r->field[i], name))
			return i;
	return -1;
}
