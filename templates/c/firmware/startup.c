/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up code of the emulated firmware: vector table, memory set-up, stack paint.
 *
 * It serves every Cortex-M core. Faults end the program through semihosting with status 255, so
 * that an emulator never spins in a handler.
 */
#include "memory_setup.h"

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);
void adaqat_exit(uint32_t status);

/* Entry 0 is the first stack pointer, entry 1 the reset handler, the rest are exceptions. */
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)adaqat_stack_top,
    Reset_Handler,
    Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
    0, 0, 0, 0,
    Fault_Handler, Fault_Handler, 0, Fault_Handler, Fault_Handler,
};

void Fault_Handler(void)
{
    adaqat_exit(255u);
}

/* The paint stops below this function's own frame, which starts at the top of the stack. */
__attribute__((used, noreturn)) void Reset_Handler(void)
{
    uint32_t here;

#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0x00F00000u; /* CPACR: coprocessors 10 and 11 on */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    __asm__ volatile("mov %0, sp" : "=r"(here));
    fill_words(adaqat_stack_limit, (const uint32_t *)(uintptr_t)(here - 64u), STACK_CANARY);
    copy_words(adaqat_data_start, adaqat_data_end, adaqat_data_load);
    fill_words(adaqat_bss_start, adaqat_bss_end, 0u);
    adaqat_exit((uint32_t)main());
    for (;;) {
    }
}
