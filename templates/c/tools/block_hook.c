/* SPDX-License-Identifier: Apache-2.0 */
/* Counts executed blocks for the emulator: a Unicorn block hook, built on demand for this machine.
 *
 * Every transition previous block -> block is counted under the region in which the previous block
 * ran. A region starts at the entry of a marked function and ends where that call returns to.
 * deploy/block_counter.py mirrors this structure and holds the same rules in Python.
 */
#include <stdint.h>

#define MAX_DEPTH 16u

enum { OK = 0, LIMIT = 1, TABLE_FULL = 2, TOO_DEEP = 3, SIZE_CHANGED = 4, UNALIGNED = 5 };

struct frame {
    uint32_t return_address;
    uint32_t region;
    uint32_t outer;
};

struct edge {
    uint32_t previous;
    uint32_t current;
    uint32_t region;
    uint32_t used;
    uint64_t count;
};

struct counter {
    int (*reg_read)(void *uc, int reg, void *value);
    int (*emu_stop)(void *uc);
    uint16_t *region_at;  /* region that starts at a halfword of the code, 0 for none */
    uint32_t *size_at;    /* bytes of the block that starts there */
    uint64_t *entries;    /* calls into each region */
    struct edge *edges;
    uint64_t blocks;
    uint64_t limit;
    uint32_t code_start;
    uint32_t code_bytes;
    uint32_t edge_mask;
    uint32_t edges_used;
    int32_t lr_register;
    uint32_t status;
    uint32_t depth;
    uint32_t region;
    uint32_t previous;
    uint32_t previous_region;
    uint32_t detail;
    struct frame frames[MAX_DEPTH];
};

static void stop(void *uc, struct counter *c, uint32_t status, uint32_t detail)
{
    if (c->status == OK) {
        c->status = status;
        c->detail = detail;
        (void)c->emu_stop(uc);
    }
}

static int count_edge(struct counter *c, uint32_t current)
{
    uint32_t at = (c->previous * 2654435761u) ^ (current * 2246822519u) ^ c->previous_region;

    for (at ^= at >> 15;; at++) {
        struct edge *e = &c->edges[at & c->edge_mask];

        if (e->used == 0u) {
            if (c->edges_used * 2u > c->edge_mask) {
                return 0;
            }
            c->edges_used++;
            e->previous = c->previous;
            e->current = current;
            e->region = c->previous_region;
            e->used = 1u;
            e->count = 1u;
            return 1;
        }
        if (e->previous == c->previous && e->current == current &&
            e->region == c->previous_region) {
            e->count++;
            return 1;
        }
    }
}

static void enter(void *uc, struct counter *c, uint32_t region, uint32_t address)
{
    uint32_t lr = 0u;
    struct frame *top = &c->frames[c->depth];

    (void)c->reg_read(uc, c->lr_register, &lr);
    lr &= ~1u;
    /* A loop back to the first block of a function is not another call of it. */
    if (c->depth > 0u && top[-1].region == region && top[-1].return_address == lr) {
        return;
    }
    if (c->depth == MAX_DEPTH) {
        stop(uc, c, TOO_DEEP, address);
        return;
    }
    top->return_address = lr;
    top->region = region;
    top->outer = c->region;
    c->depth++;
    c->region = region;
    c->entries[region]++;
}

void adaqat_on_block(void *uc, uint64_t address64, uint32_t size, struct counter *c);
void adaqat_on_access(void *uc, int type, uint64_t address, int size, int64_t value,
                      struct counter *c);

void adaqat_on_block(void *uc, uint64_t address64, uint32_t size, struct counter *c)
{
    const uint32_t address = (uint32_t)address64;
    const uint32_t offset = address - c->code_start;

    if (++c->blocks > c->limit) {
        stop(uc, c, LIMIT, address);
        return;
    }
    while (c->depth > 0u && c->frames[c->depth - 1u].return_address == address) {
        c->depth--;
        c->region = c->frames[c->depth].outer;
    }
    if (offset < c->code_bytes) {
        const uint32_t half = offset >> 1;

        if (c->region_at[half] != 0u) {
            enter(uc, c, c->region_at[half], address);
        }
        if (c->region != 0u) {
            if (c->size_at[half] != 0u && c->size_at[half] != size) {
                stop(uc, c, SIZE_CHANGED, address);
            }
            c->size_at[half] = size;
        }
    }
    if (c->previous_region != 0u && count_edge(c, address) == 0) {
        stop(uc, c, TABLE_FULL, address);
    }
    c->previous = address;
    c->previous_region = c->region;
}

void adaqat_on_access(void *uc, int type, uint64_t address, int size, int64_t value,
                      struct counter *c)
{
    (void)type;
    (void)value;
    if ((address & (uint64_t)(uint32_t)(size - 1)) != 0u) {
        stop(uc, c, UNALIGNED, (uint32_t)address);
    }
}
