/* What a machine must get right before its answers count. Standard input has x, y and z, 16 floats each; the first argument is
 * the number of the open file that takes seven vectors (fuzz/run/emulator/known.py says which). */
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LANES = 16, PAGE = 4096, BESIDE = 5 };

static float in[3][LANES], out[7][LANES];
static sigjmp_buf before_fault;
static char *volatile fault;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    fault = info->si_addr;
    siglongjmp(before_fault, 1);
}

static void *fused(void *half) {
    const __mmask16 lanes = half ? 0xff00 : 0x00ff;
    _mm512_mask_storeu_ps(out[4], lanes, _mm512_fmadd_ps(_mm512_loadu_ps(in[0]), _mm512_loadu_ps(in[1]), _mm512_loadu_ps(in[2])));
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2 || read(0, in, sizeof in) != sizeof in) return 1;
    const __m512 x = _mm512_loadu_ps(in[0]), y = _mm512_loadu_ps(in[1]), z = _mm512_loadu_ps(in[2]);
    _mm512_storeu_ps(out[0], _mm512_fmadd_ps(x, y, z));
    const __m512i reversed = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_storeu_ps(out[1], _mm512_permutexvar_ps(reversed, x));
    _mm512_storeu_ps(out[2], _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)));

    /* Odd numbers of 12 bits, halfway between two of 11 bits. */
    float ties[LANES];
    for (int i = 0; i < LANES; i++) ties[i] = (float)(2049 + 2 * i);
    _mm512_storeu_ps(out[6], _mm512_cvtph_ps(_mm512_cvtps_ph(_mm512_loadu_ps(ties), _MM_FROUND_TO_NEAREST_INT)));

    /* Some lanes fit before a page that nobody may touch: those alone are no fault, one more is. */
    char *const pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_NONE)) return 2;
    float *const beside = (float *)(pages + PAGE) - BESIDE;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    if (sigsetjmp(before_fault, 1) == 0) _mm512_mask_storeu_ps(beside, (1 << BESIDE) - 1, x);
    if (fault) return 3;
    _mm512_storeu_ps(out[3], _mm512_maskz_loadu_ps((1 << BESIDE) - 1, beside));
    if (sigsetjmp(before_fault, 1) == 0) _mm512_mask_storeu_ps(beside, (2 << BESIDE) - 1, x);
    /* Which byte of the lane is named differs between processors. */
    out[5][0] = fault >= pages + PAGE && fault < pages + PAGE + sizeof *beside ? 1.0f : -1.0f;

    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, fused, i ? out : NULL)) return 4;
    for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return write(atoi(arguments[1]), out, sizeof out) == sizeof out ? 0 : 5;
}
