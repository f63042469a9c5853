/* Measures one routine over floats: floats.py puts it here, and what it means. */
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE inline __attribute__((always_inline))
ROUTINES
static double meaning(double x) { return MEANING; }

enum { MANY = 4096, NODES = 7, LANES = 8 };

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void evaluate(const float *x, float *y, size_t count) {
    size_t i = 0;
    for (; i + 16 <= count; i += 16) _mm512_storeu_ps(y + i, ROUTINE(_mm512_loadu_ps(x + i)));
    float some[16] = {0};
    memcpy(some, x + i, (count - i) * sizeof *x);
    _mm512_storeu_ps(some, ROUTINE(_mm512_loadu_ps(some)));
    memcpy(y + i, some, (count - i) * sizeof *y);
}

/* One over the unit in the last place that a result of this size has as a float. */
static inline double units_of(double size) {
    int64_t bits; /* the size is 2^(exponent - 1023) and more */
    memcpy(&bits, &size, sizeof bits);
    int64_t exponent = bits >> 52 & 2047;
    exponent = exponent < 1023 - 126 ? 1023 - 126 : exponent;
    exponent = exponent > 1023 + 127 ? 1023 + 127 : exponent;
    bits = (2 * 1023 + 23 - exponent) << 52;
    double units;
    memcpy(&units, &bits, sizeof units);
    return units;
}

static inline double size_of(double x, double wanted, double beside) {
    const double size = fabs(wanted), other = beside * fabs(x);
    return size > other ? size : other;
}

/* How far a result is off, in units in the last place of what it should be or of `beside` times the argument, after
 * `floor` has been taken off. All of it is chosen between, nothing jumped over: so it is computed for many at a time. */
static inline double error_of(double x, double result, double wanted, double floor, double beside) {
    const double single = (float)wanted;
    const double finite = fabs(result) == INFINITY ? copysign(0x1p128, result) : result;
    const double off = fabs(finite - wanted) - floor;
    const double error = (off > 0 ? off : 0) * units_of(size_of(x, wanted, beside));
    /* Infinities and zeros must be met; at 0 their signs, too. A result may be next to an infinity that is but rounded. */
    const double missed = (fabs(wanted) == INFINITY) | (wanted == 0) ? INFINITY : error;
    const double met = (x == 0) & (copysign(1, result) != copysign(1, wanted)) ? missed : 0;
    const double end = result == single ? met : missed;
    const double number = (fabs(single) == INFINITY) | (wanted == 0) ? end : error;
    const double none = wanted != wanted ? 0 : INFINITY, other = wanted != wanted ? INFINITY : number;
    return result != result ? none : other;
}

/* What the function means at MANY floats in a row whose sign and exponent are the same; 0 where it is not that smooth. */
static int interpolate(const float *x, double *wanted, double beside) {
    static const int nodes[NODES] = {0, 203, 771, 1592, 2503, 3324, 4095};
    static const int others[] = {90, 1187, 2048, 3777};
    double places[NODES], terms[NODES];
    int constant = 1;
    for (int i = 0; i < NODES; i++) {
        places[i] = nodes[i];
        terms[i] = meaning(x[nodes[i]]);
        constant &= !memcmp(terms + i, terms, sizeof *terms);
    }
    if (constant) {
        for (int i = 0; i < MANY; i++) wanted[i] = terms[0];
    } else {
        for (int order = 1; order < NODES; order++)
            for (int i = NODES - 1; i >= order; i--)
                terms[i] = (terms[i] - terms[i - 1]) / (places[i] - places[i - order]);
        if (!isfinite(terms[NODES - 1])) return 0; /* as it is where any of them is not finite */
        for (int i = 0; i < MANY; i++) {
            double sum = terms[NODES - 1];
            for (int order = NODES - 2; order >= 0; order--) sum = sum * (i - places[order]) + terms[order];
            wanted[i] = sum;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const int at = others[i];
        const double is = meaning(x[at]), units = units_of(size_of(x[at], is, beside));
        if (memcmp(&is, wanted + at, sizeof is) && !(fabs(is - wanted[at]) * units < 0x1p-12)) return 0;
    }
    return 1;
}

/* The largest error at every `stride`th float from `first` to before `end`, and the bits of where it is. */
double measure(uint64_t first, uint64_t end, uint64_t stride, double floor, double beside, double least, double most,
               uint32_t *where) {
    const float from = (float)least, to = (float)most;
    float x[MANY], y[MANY];
    double wanted[MANY], errors[MANY];
    double worst = -1;
    for (uint64_t at = first; at < end; at += MANY * stride) {
        for (int i = 0; i < MANY; i++) x[i] = float_of((uint32_t)(at + i * stride < end ? at + i * stride : at));
        const int row = stride == 1 && at % MANY == 0 && at + MANY <= end && isfinite(x[0]);
        if (row && ((x[0] < from && x[MANY - 1] < from) || (x[0] > to && x[MANY - 1] > to))) continue;
        evaluate(x, y, MANY);
        if (!row || !interpolate(x, wanted, beside))
            for (int i = 0; i < MANY; i++) wanted[i] = meaning(x[i]);
        for (int i = 0; i < MANY; i++) {
            const double error = error_of(x[i], y[i], wanted[i], floor, beside);
            errors[i] = x[i] < from ? -1 : x[i] > to ? -1 : error;
        }
        double largest[LANES] = {0};
        for (int i = 0; i < MANY; i += LANES)
            for (int lane = 0; lane < LANES; lane++)
                largest[lane] = errors[i + lane] > largest[lane] ? errors[i + lane] : largest[lane];
        int larger = worst < 0;
        for (int lane = 0; lane < LANES; lane++) larger |= largest[lane] > worst;
        for (int i = 0; larger && i < MANY; i++) {
            if (errors[i] > worst) {
                worst = errors[i];
                memcpy(where, x + i, sizeof *where);
            }
        }
    }
    return worst;
}
