/* SPDX-License-Identifier: Apache-2.0 */
/* What the linker script defines, and the loops that set memory up before main. */
#ifndef ADAQAT_MEMORY_SETUP_H
#define ADAQAT_MEMORY_SETUP_H

#include <stdint.h>

#define STACK_CANARY 0xC0DEC0DEu

extern uint32_t adaqat_stack_limit[];
extern uint32_t adaqat_stack_top[];
extern uint32_t adaqat_data_load[];
extern uint32_t adaqat_data_start[];
extern uint32_t adaqat_data_end[];
extern uint32_t adaqat_bss_start[];
extern uint32_t adaqat_bss_end[];

static void copy_words(volatile uint32_t *to, const volatile uint32_t *end, const uint32_t *from)
{
    while (to < end) {
        *to++ = *from++;
    }
}

static void fill_words(volatile uint32_t *to, const volatile uint32_t *end, uint32_t value)
{
    while (to < end) {
        *to++ = value;
    }
}

#endif
