/* SPDX-License-Identifier: Apache-2.0 */
/* Semihosting calls (Arm "Semihosting for AArch32 and AArch64", release 2.0; RISC-V took over
 * its numbers and blocks). */
#ifndef ADAQAT_SEMIHOSTING_H
#define ADAQAT_SEMIHOSTING_H

#include <stdint.h>

#define SYS_OPEN 0x01u
#define SYS_CLOSE 0x02u
#define SYS_WRITE 0x05u
#define SYS_READ 0x06u
#define SYS_EXIT_EXTENDED 0x20u

#define OPEN_READ_BINARY 1u
#define OPEN_WRITE_BINARY 5u
#define APPLICATION_EXIT 0x20026u

#if defined(__riscv)
uint32_t adaqat_host_call(uint32_t operation, const void *arguments);
#endif

static inline uint32_t semihosting(uint32_t operation, const void *arguments)
{
#if defined(__riscv)
    return adaqat_host_call(operation, arguments);
#else
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#endif
}

#endif
