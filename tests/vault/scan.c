// scan PID NEEDLES: where byte strings lie in the memory of a process.
//
// NEEDLES is a file of lines, each one needle of at least 8 bytes in hex. Standard input names the ranges to look
// through, "START END" in hex per line. Prints "INDEX ADDRESS" for every occurrence. The first eight bytes of every needle
// are in a table with open addressing, in front of which stands a filter of 2^20 bits.
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILTER = 20, BLOCK = 1 << 22, LONGEST = 512 };

struct needle { uint8_t bytes[LONGEST]; size_t length; };

static struct needle *needles;
static size_t count, slots;
static uint32_t *table;
static uint8_t filter[(1u << FILTER) / 8];

static uint64_t hash(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
    return word * UINT64_C(0x9e3779b97f4a7c15);
}

static void read_needles(const char *path) {
    FILE *file = fopen(path, "r");
    char line[2 * LONGEST + 2];
    if (!file) exit(2);
    while (fgets(line, sizeof line, file)) {
        size_t length = strcspn(line, "\n") / 2;
        if (length < 8 || length > LONGEST) exit(3);
        needles = realloc(needles, (count + 1) * sizeof *needles);
        if (!needles) exit(4);
        needles[count].length = length;
        for (size_t i = 0; i < length; i++)
            if (sscanf(line + 2 * i, "%2hhx", &needles[count].bytes[i]) != 1) exit(5);
        count++;
    }
    fclose(file);
    for (slots = 64; slots < 4 * count; slots *= 2) {}
    table = calloc(slots, sizeof *table);
    if (!table) exit(4);
    for (size_t i = 0; i < count; i++) {
        uint64_t h = hash(needles[i].bytes);
        size_t bit = h >> (64 - FILTER), slot = h & (slots - 1);
        filter[bit / 8] |= (uint8_t)(1u << bit % 8);
        while (table[slot]) slot = (slot + 1) & (slots - 1);
        table[slot] = (uint32_t)i + 1;
    }
}

static void look(const uint8_t *block, size_t size, size_t starts, uint64_t address) {
    for (size_t i = 0; i < starts && i + 8 <= size; i++) {
        uint64_t h = hash(block + i);
        size_t bit = h >> (64 - FILTER);
        if (!(filter[bit / 8] >> bit % 8 & 1)) continue;
        for (size_t slot = h & (slots - 1); table[slot]; slot = (slot + 1) & (slots - 1)) {
            struct needle *n = &needles[table[slot] - 1];
            if (i + n->length <= size && !memcmp(block + i, n->bytes, n->length))
                printf("%u %" PRIx64 "\n", table[slot] - 1, address + i);
        }
    }
}

int main(int argc, char **argv) {
    static uint8_t block[BLOCK + LONGEST];
    char path[64];
    uint64_t start, end;
    if (argc != 3) return 1;
    read_needles(argv[2]);
    snprintf(path, sizeof path, "/proc/%s/mem", argv[1]);
    int memory = open(path, O_RDONLY);
    if (memory < 0) return 6;
    while (scanf("%" SCNx64 " %" SCNx64, &start, &end) == 2) {
        for (uint64_t at = start; at < end; at += BLOCK) {
            uint64_t want = end - at < sizeof block ? end - at : sizeof block;
            // A file may be shorter than its mapping: what cannot be read holds nothing.
            ssize_t got = pread(memory, block, want, (off_t)at);
            if (got > 0) look(block, (size_t)got, BLOCK, at);
        }
    }
    return 0;
}
