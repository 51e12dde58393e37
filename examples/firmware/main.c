/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program around an emitted network: check this build, run one input, take the largest score.
 * Build on any machine, beside the folder that adaqat-deploy wrote:
 *
 *   cc -std=c99 -O2 -I firmware main.c firmware/net.c firmware/net_self_test.c -o classify
 *
 * On a device the same three calls sit in the application; a cross compiler needs nothing else.
 */
#include "net.h"

static net_ctx_t ctx; /* all working memory; put it in any section */
static net_input_t image[NET_INPUT_SIZE];
static net_output_t scores[NET_OUTPUT_SIZE];

static int largest(void)
{
    int best = 0;
    for (int i = 1; i < NET_OUTPUT_SIZE; ++i) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    return best;
}

int main(void)
{
    if (net_self_test(&ctx) != NET_OK) {
        return 1; /* this compiler or this device computes other integers */
    }
    /* Fill image with codes: code = floor(value / NET_INPUT_SCALE + 0.5) + NET_INPUT_ZERO_POINT. */
    if (net_run(&ctx, image, scores) != NET_OK) {
        return 2;
    }
    return (largest() < NET_OUTPUT_SIZE) ? 0 : 3;
}
