/* Preloaded into Python tests (no_mlock.py): pages are neither locked nor unlocked. */
#include <stddef.h>

int mlock(const void *address, size_t length) {
    (void)address, (void)length;
    return 0;
}

int munlock(const void *address, size_t length) {
    (void)address, (void)length;
    return 0;
}
