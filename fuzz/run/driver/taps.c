/* The net's own tensors, where it was emitted by us and built with NN512_TAP: before every step of a layer it calls
 * nn512tap. When the next layer begins, what the last one has written is complete, and still there.
 */
#include "nn512_driver.h"

void nn512tap(const float *arena, int layer);

/* Of the calling thread, as engines run beside each other. */
static __thread const float *memory;
static __thread int under_way = -1, is_shown, is_watched, is_mode_known;
static __thread unsigned mode;
static __thread size_t shown_set;
static __thread uint32_t nothing;

static void check_mode(void) {
    if (!is_mode_known || mode_get() == mode) return;
    report_violation("mxcsr", "%s changes MXCSR from %#x to %#x", under_way < 0 ? "EngineInference" : "the layer", mode, mode_get());
    mode_set(mode);
}

static void layer_ended(void) {
    check_mode();
    if (under_way < 0) return;
    if (is_watched) arena_end();
    if (!is_shown) return;
    for (size_t i = 0; i < nn512_driver_net.tap_count; i++) {
        const struct driver_tap *const tap = &nn512_driver_net.taps[i];
        if (tap->layer == under_way) report_tap(shown_set, i, memory + tap->offset, tap->elements);
    }
}

void nn512tap(const float *arena, int layer) {
    if (layer == under_way) return;
    layer_ended();
    report_layer(layer + 1);
    memory = arena;
    under_way = layer;
    if (is_watched) arena_begin((float *)arena, layer, nothing);
}

void taps_mode(unsigned before) {
    mode = before;
    is_mode_known = 1;
}

void taps_begin(size_t data_set) {
    shown_set = data_set;
    is_shown = 1;
}

void taps_watch(uint32_t pattern) {
    nothing = pattern;
    is_watched = nn512_driver_net.region_count != 0;
}

void taps_end(void) {
    layer_ended();
    report_layer(0);
    under_way = -1;
    is_shown = is_watched = is_mode_known = 0;
}
