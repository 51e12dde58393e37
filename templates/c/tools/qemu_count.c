/* SPDX-License-Identifier: Apache-2.0 */
/* Counts executed blocks of a firmware image in QEMU: a TCG plugin, built on demand for this machine.
 *
 * It follows the rules of block_hook.c: every transition previous block -> block is counted under the
 * region in which the previous block ran; a region starts at the entry of a marked function and ends
 * where that call returns to, the address behind the calling block. Reads regions.txt (lines of hex
 * address and region number) and writes counts.txt, both in the working directory:
 *
 *     entry REGION CALLS
 *     edge REGION ADDRESS BYTES NEXT COUNT
 *     status CODE
 *
 * Debian's QEMU has the plugin interface, version 1, but ships no header for it; what is used of it
 * is declared here (qemu.readthedocs.io, "QEMU TCG Plugins").
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;

int qemu_plugin_version = 1;
int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*cb)(plugin_id id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*cb)(unsigned int cpu, void *data), int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id id, void *data),
                                    void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define MAX_DEPTH 16u
#define MAX_REGIONS 4096u
#define EDGE_SLOTS (1u << 17)

enum { OK = 0, TABLE_FULL = 2, TOO_DEEP = 3 };

struct block {
    uint32_t start;
    uint32_t bytes;
    uint32_t region; /* that starts here, 0 for none */
};

struct frame {
    uint32_t return_address;
    uint32_t region;
    uint32_t outer;
};

struct edge {
    struct block from;
    uint32_t next;
    uint32_t region;
    uint64_t count;
};

static struct { uint32_t address, region; } marks[MAX_REGIONS];
static uint32_t marked;
static uint64_t entries[MAX_REGIONS];
static struct edge edges[EDGE_SLOTS];
static uint32_t edges_used;
static struct frame frames[MAX_DEPTH];
static uint32_t depth, region, previous_region, status;
static struct block previous;

static uint32_t region_at(uint32_t address)
{
    for (uint32_t i = 0u; i < marked; ++i) {
        if (marks[i].address == address) {
            return marks[i].region;
        }
    }
    return 0u;
}

static void count_edge(uint32_t next)
{
    uint32_t at = (previous.start * 2654435761u) ^ (next * 2246822519u) ^ previous_region;

    for (at ^= at >> 15;; ++at) {
        struct edge *e = &edges[at % EDGE_SLOTS];

        if (e->count == 0u) {
            if (++edges_used > EDGE_SLOTS / 2u) {
                status = TABLE_FULL;
                return;
            }
            e->from = previous;
            e->next = next;
            e->region = previous_region;
        } else if (e->from.start != previous.start || e->from.bytes != previous.bytes ||
                   e->next != next || e->region != previous_region) {
            continue;
        }
        e->count++;
        return;
    }
}

static void enter(uint32_t number)
{
    const uint32_t link = previous.start + previous.bytes;

    if (depth != 0u && frames[depth - 1u].return_address == link &&
        frames[depth - 1u].region == number) {
        return;
    }
    if (depth == MAX_DEPTH) {
        status = TOO_DEEP;
        return;
    }
    frames[depth].return_address = link;
    frames[depth].region = number;
    frames[depth].outer = region;
    ++depth;
    region = number;
    entries[number]++;
}

static void on_block(unsigned int cpu, void *data)
{
    const struct block *b = data;

    (void)cpu;
    if (status != OK) {
        return;
    }
    while (depth != 0u && frames[depth - 1u].return_address == b->start) {
        region = frames[--depth].outer;
    }
    if (b->region != 0u) {
        enter(b->region);
    }
    if (previous_region != 0u) {
        count_edge(b->start);
    }
    previous = *b;
    previous_region = region;
}

/* A block's last instruction may lie behind what QEMU reports at a page end, so its own first
 * halfword says how long it is. */
static void on_translation(plugin_id id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1u);
    const uint8_t *code = qemu_plugin_insn_data(last);
    struct block *b = malloc(sizeof *b);

    (void)id;
    if (b == NULL) {
        abort();
    }
    b->start = (uint32_t)qemu_plugin_tb_vaddr(tb);
    b->bytes = (uint32_t)qemu_plugin_insn_vaddr(last) + (code[1] >= 0xE8u ? 4u : 2u) - b->start;
    b->region = region_at(b->start);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, 0, b);
}

static void at_exit(plugin_id id, void *data)
{
    FILE *out = fopen("counts.txt", "w");

    (void)id;
    (void)data;
    if (out == NULL) {
        return;
    }
    for (uint32_t i = 1u; i < MAX_REGIONS; ++i) {
        if (entries[i] != 0u) {
            fprintf(out, "entry %" PRIu32 " %" PRIu64 "\n", i, entries[i]);
        }
    }
    for (uint32_t i = 0u; i < EDGE_SLOTS; ++i) {
        const struct edge *e = &edges[i];

        if (e->count != 0u) {
            fprintf(out, "edge %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 "\n",
                    e->region, e->from.start, e->from.bytes, e->next, e->count);
        }
    }
    fprintf(out, "status %" PRIu32 "\n", status);
    (void)fclose(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    FILE *in = fopen("regions.txt", "r");

    (void)info;
    (void)argc;
    (void)argv;
    if (in == NULL) {
        return 1;
    }
    while (marked < MAX_REGIONS &&
           fscanf(in, "%" SCNx32 " %" SCNu32, &marks[marked].address, &marks[marked].region) == 2 &&
           marks[marked].region < MAX_REGIONS) {
        ++marked;
    }
    (void)fclose(in);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
