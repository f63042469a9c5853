"""The C that finds the power of two with which weights fit into half floats, and makes them such."""

HALVES = """
/* Halves have 11 significant bits from 2^-14 to 2^16. Weights that share a scale are multiplied by a power of two, the
 * one nearest 1 that leaves none of them outside; where their range is too wide for that, the largest comes to 2^14. */
static double power_of_two(int exponent) {
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static int exponent_of(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (int)(bits >> 52 & 2047) - 1023;
}

/* Magnitudes of weights that are not zero; none if the largest is. */
typedef struct { double smallest, largest; } Range;

static void widen_range(Range *range, double weight) {
    const double magnitude = weight < 0 ? -weight : weight;
    if (magnitude > 0 && (range->smallest == 0 || magnitude < range->smallest)) range->smallest = magnitude;
    if (magnitude > range->largest) range->largest = magnitude;
}

static int half_exponent(Range range) {
    const int up = -14 - exponent_of(range.smallest), most = 14 - exponent_of(range.largest);
    const int lift = up > 0 ? up : 0, exponent = lift < most ? lift : most;
    if (range.largest == 0) return 0;
    return exponent < -126 ? -126 : exponent > 126 ? 126 : exponent; /* the inverse must be a float, too */
}
"""

HALF_OF = """
/* The nearest half float. */
static uint16_t half_of(float weight) {
    const __m256i halves = _mm512_cvtps_ph(_mm512_set1_ps(weight), 0);
    uint16_t first;
    memcpy(&first, &halves, sizeof first);
    return first;
}
"""
