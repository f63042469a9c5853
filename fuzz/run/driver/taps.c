/* The net's own tensors, where it was emitted by us and built with NN512_TAP: before every step of a layer it calls
 * nn512tap. When the next layer begins, what the last one has written is complete, and still there.
 */
#include "nn512_driver.h"

void nn512tap(const float *arena, int layer);

static const float *memory;
static int under_way = -1, is_shown;
static size_t shown_set;

static void show(void) {
    for (size_t i = 0; i < nn512_driver_net.tap_count; i++) {
        const struct driver_tap *const tap = &nn512_driver_net.taps[i];
        if (tap->layer == under_way) report_tap(shown_set, i, memory + tap->offset, tap->elements);
    }
}

void nn512tap(const float *arena, int layer) {
    report_layer(layer + 1);
    if (!is_shown) return;
    if (layer != under_way && under_way >= 0) show();
    memory = arena;
    under_way = layer;
}

void taps_begin(size_t data_set) {
    shown_set = data_set;
    under_way = -1;
    is_shown = 1;
}

void taps_end(void) {
    report_layer(0);
    if (is_shown && under_way >= 0) show();
    is_shown = 0;
}
