/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up code of the emulated firmware for RISC-V: stack, memory set-up, host call.
 *
 * Reset_Handler comes first in the image. adaqat_host_call(operation, block) is a semihosting call
 * (RISC-V Semihosting, version 1.0): three instructions that may not be compressed and may not
 * cross a page, hence the alignment. An emulator may also serve the call at its first instruction
 * and return.
 */
#include "memory_setup.h"

int main(void);
void Reset_Handler(void);
void adaqat_start(void);
void adaqat_exit(uint32_t status);

__asm__(
    ".section .vectors, \"ax\", @progbits\n"
    ".globl Reset_Handler\n"
    ".type Reset_Handler, @function\n"
    "Reset_Handler:\n"
    "    la sp, adaqat_stack_top\n"
    "    j adaqat_start\n"
    ".size Reset_Handler, . - Reset_Handler\n"
    ".text\n"
    ".section .text.adaqat_host_call, \"ax\", @progbits\n"
    ".option push\n"
    ".option norvc\n"
    ".balign 16\n"
    ".globl adaqat_host_call\n"
    ".type adaqat_host_call, @function\n"
    "adaqat_host_call:\n"
    "    slli x0, x0, 0x1f\n"
    "    ebreak\n"
    "    srai x0, x0, 7\n"
    "    ret\n"
    ".size adaqat_host_call, . - adaqat_host_call\n"
    ".option pop\n"
    ".text\n");

/* The paint stops below this function's own frame, which starts at the top of the stack. */
__attribute__((used, noreturn)) void adaqat_start(void)
{
    uint32_t here;

    __asm__ volatile("mv %0, sp" : "=r"(here));
    fill_words(adaqat_stack_limit, (const uint32_t *)(uintptr_t)(here - 64u), STACK_CANARY);
    copy_words(adaqat_data_start, adaqat_data_end, adaqat_data_load);
    fill_words(adaqat_bss_start, adaqat_bss_end, 0u);
    adaqat_exit((uint32_t)main());
    for (;;) {
    }
}
